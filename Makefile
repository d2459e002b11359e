# runtools. `make run` serves on this machine, `make test` runs every test; both set everything up first.

STATE := $(or $(RUNTOOLS_STATE),/var/lib/runtools)
GO    ?= go

# Hardening of the one C file; https://best.openssf.org/Compiler-Hardening-Guides/Compiler-Options-Hardening-Guide-for-C-and-C++
export CGO_CFLAGS  ?= -O2 -g -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fstack-clash-protection -fcf-protection
export CGO_LDFLAGS ?= -Wl,-z,relro -Wl,-z,now

.PHONY: all binaries mkrootfs run test test-unit test-root test-vm lint fuzz bench rootfs rootfs-check install deps clean

# Everything that runs on this machine: binaries in bin/, the image in $(STATE). Both at once, for neither needs the other.
all: deps
	@$(MAKE) --no-print-directory -j2 binaries rootfs

binaries:
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./apid ./runtools
	$(GO) build -trimpath -o bin/ ./sandboxd

mkrootfs:
	@mkdir -p bin
	@CGO_ENABLED=0 $(GO) build -trimpath -o bin/mkrootfs ./rootfs

# The image: built when a manifest changed, else at once.
rootfs: mkrootfs
	@bin/mkrootfs build -state $(STATE)

# Packages of the host: a C compiler and libseccomp to build sandboxd, and what the image is made with.
deps:
	@scripts/deps gcc libc6-dev libseccomp-dev $(shell cat rootfs/host-packages)

# Every sample of every language in the image.
rootfs-check: rootfs
	bin/mkrootfs check -state $(STATE)

# Serve in the foreground, print a key and a curl line. SIGTERM ends everything.
run: all
	@exec scripts/run

clean:
	rm -rf bin
