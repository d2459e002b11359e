# runtools. `make run` serves on this machine, `make test` runs every test; both set everything up first.

STATE := $(or $(RUNTOOLS_STATE),/var/lib/runtools)
GO    ?= go

# Packages whose tests need no root, no image and no C.
PURE     := . ./apid ./pkg/client ./pkg/lang ./pkg/wire ./mcptools ./runtools/... ./scripts/bench
ROOT     := ./pkg/cgroup ./pkg/jail ./pkg/seccomp ./sandboxd

# Hardening of the one C file; https://best.openssf.org/Compiler-Hardening-Guides/Compiler-Options-Hardening-Guide-for-C-and-C++
export CGO_CFLAGS  ?= -O2 -g -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fstack-clash-protection -fcf-protection
export CGO_LDFLAGS ?= -Wl,-z,relro -Wl,-z,now

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOTESTSUM   := gotest.tools/gotestsum@v1.13.0
FUZZTIME    ?= 10s

# `go test`, and once more what failed, if that is at most three tests and no data race or crash: CONTRIBUTING.md says why. What took how long
# is in bin/TARGET.json: `bin/gotestsum tool slowest --jsonfile bin/test-e2e.json`.
gotest = bin/gotestsum --format standard-quiet --jsonfile bin/$@.json --rerun-fails=1 --rerun-fails-max-failures=3 --rerun-fails-abort-on-data-race --packages="$(1)" -- $(2)

.PHONY: all binaries mkrootfs rootfs rootfs-check deps test-deps run test test-unit test-fuzz test-root test-rootfs test-e2e test-fidelity test-sdk test-runtimes test-playground test-vm test-vm-v1 record lint sdk playground docs fuzz crash overload bench bench-docs soak bench-deps install clean

# Everything that runs on this machine: binaries in bin/, the image in $(STATE). Both at once, for neither needs the other.
all: deps
	@$(MAKE) --no-print-directory -j2 binaries rootfs

# sandboxd with cgo for libseccomp and zygote.c, the others without. Linked statically it maps 12 areas instead of 29, which each jail copies twice and frees
# twice: checkout took 9 to 22 % less in three pairs of runs. Users and groups are then looked up by Go, not by what a host's NSS would load.
STATIC := -tags osusergo,netgo -ldflags -extldflags=-static

BIN := bin

binaries:
	@mkdir -p $(BIN)
	CGO_ENABLED=0 $(GO) build -trimpath -o $(BIN)/ ./apid ./runtools
	$(GO) build -trimpath $(STATIC) -o $(BIN)/ ./sandboxd

# The image builder.
mkrootfs:
	@mkdir -p bin
	@CGO_ENABLED=0 $(GO) build -trimpath -o bin/mkrootfs ./rootfs

# The image: built when a manifest changed, else at once. BASE=noble for Ubuntu's; ROOTFS_FLAGS: see bin/mkrootfs build -h.
rootfs: mkrootfs
	@bin/mkrootfs build -state $(STATE) $(if $(BASE),-base $(BASE)) $(ROOTFS_FLAGS)

# Every sample of every language in the image, without any jail.
rootfs-check: rootfs
	bin/mkrootfs check -state $(STATE)

# Go modules; packages of the host: a C compiler and libseccomp to build sandboxd, and what the image is made with.
deps:
	@scripts/retry $(GO) mod download || true
	@scripts/deps gcc libc6-dev libseccomp-dev $(shell cat rootfs/host-packages)

# Serve in the foreground, print a key and a curl line. SIGTERM ends everything.
run: all
	@exec scripts/run

# All tests. Set-up first; root is needed, and a test that cannot run fails. Two at a time. The emulator's clock stands still while others compute: beside it
# are those that need no clock, and they leave it a processor.
test: all test-deps bin/gotestsum
	@scripts/lanes 'test-vm' 'nice lint test-unit test-fuzz test-rootfs' then 'test-e2e test-root' 'test-fidelity test-sdk test-playground'

bin/gotestsum:
	@GOBIN=$(CURDIR)/bin scripts/retry $(GO) install $(GOTESTSUM)

# Packages that only tests need.
test-deps:
	@scripts/deps busybox-static qemu-system-x86 cpio xz-utils python3-six ruby-rainbow librust-itoa-dev libgoogle-gson-java nupkg-newtonsoft.json.6.0.8

# Vet, staticcheck, the C file with every warning an error. The repository's own rules are rules_test.go, with their reasons.
lint: deps
	$(GO) vet ./... && $(GO) vet -tags testvm ./sandboxd ./scripts/...
	GOBIN=$(CURDIR)/bin scripts/retry $(GO) install $(STATICCHECK)
	bin/staticcheck ./...
	gcc -std=gnu11 -O2 -Wall -Wextra -Wshadow -Werror -fanalyzer -c pkg/jail/zygote.c -o /dev/null

# Tests that need nothing.
test-unit: bin/gotestsum
	$(call gotest,$(PURE),-race -timeout 20m)

# Each decoder of foreign bytes for a thousand inputs; `make fuzz` takes longer. Not for a time: at its end Go's fuzzer may fail on a busy
# machine, "context deadline exceeded", with nothing wrong (https://go.dev/issue/75804, until Go 1.27).
test-fuzz: deps
	@$(MAKE) --no-print-directory fuzz FUZZTIME=1000x

# Tests that make real cgroups, jails and daemons.
test-root: deps test-deps rootfs bin/gotestsum
	RUNTOOLS_STATE=$(STATE) $(call gotest,$(ROOT),-count=1 -race -timeout 40m)

# Builds of images from the caches of the real one: toy languages, broken steps, missing sources.
test-rootfs: rootfs bin/gotestsum
	RUNTOOLS_STATE=$(STATE) $(call gotest,./rootfs,-count=1 -timeout 20m)

# Both daemons over HTTP, every language, every sample.
test-e2e: all test-deps bin/gotestsum
	RUNTOOLS_STATE=$(STATE) $(call gotest,./apid/e2e,-count=1 -timeout 60m -skip '^TestFidelity$$')

# Every program of rootfs/*/fidelity, however it is started. A target of its own, for it computes all the time, and the others of ./apid/e2e wait.
test-fidelity: all test-deps bin/gotestsum
	RUNTOOLS_STATE=$(STATE) $(call gotest,./apid/e2e,-count=1 -timeout 60m -run '^TestFidelity$$')

# The SDKs: against a small server of their own, then packed, installed and run against the real one.
test-sdk: all bin/gotestsum sdk sdk/mcp/node_modules/.package-lock.json
	cd sdk/typescript && npm test --silent
	cd sdk/python && python3 -W error::ResourceWarning -m unittest
	RUNTOOLS_STATE=$(STATE) $(call gotest,./sdk,-count=1 -timeout 20m)

# The TypeScript SDK under Deno and Bun, which npm brings: 200 MB, so that it is for whoever changes the SDK, and not a part of `make test`.
test-runtimes: all sdk sdk/runtimes/node_modules/.package-lock.json
	RUNTOOLS_STATE=$(STATE) $(GO) test -tags runtimes -count=1 -timeout 20m -run DenoAndBun ./sdk

# The TypeScript SDK, compiled. npm brings node along; Python has nothing to build.
sdk: deps sdk/typescript/node_modules/.package-lock.json
	@scripts/deps python3
	@python3 -c 'import ensurepip, venv' 2>/dev/null || scripts/deps python3-venv
	cd sdk/typescript && npm run --silent build

sdk/%/node_modules/.package-lock.json: sdk/%/package-lock.json
	cd sdk/$* && ../../scripts/retry npm ci --silent --no-audit --no-fund
	@touch $@

# The pages that apid serves, built into apid/playground, where they are committed.
playground: deps playground/node_modules/.package-lock.json
	cd playground && npm run --silent build -- --logLevel warn

playground/node_modules/.package-lock.json: playground/package-lock.json
	cd playground && ../scripts/retry npm ci --silent --ignore-scripts --no-audit --no-fund
	@touch $@

# The pages are what their sources make, and work in a browser. Chromium is Debian's.
test-playground: all playground/node_modules/.package-lock.json
	@scripts/deps chromium
	cd playground && npm run --silent build -- --logLevel warn --outDir ../bin/playground
	diff -r bin/playground apid/playground || { echo "apid/playground is not what playground/ makes: run make playground" >&2; exit 1; }
	cd playground && RUNTOOLS_STATE=$(STATE) npm test --silent

# The references of the SDKs, from their comments, and the half of the Python one that is made of the other.
docs: sdk
	node sdk/typescript/scripts/reference.mjs > docs/sdk/typescript.md
	python3 sdk/python/unasync.py
	python3 sdk/python/reference.py > docs/sdk/python.md

# What programs call, by language, in seccomp-profiles/use: samples, fidelity programs, those of apid/e2e/testdata/needs, installers of packages
# and programs with a terminal. What was there is replaced when all of them passed. docs/seccomp.md.
record: all test-deps
	rm -rf bin/record && mkdir -p bin/record
	RUNTOOLS_RECORD=$(CURDIR)/bin/record RUNTOOLS_STATE=$(STATE) $(GO) test -count=1 -timeout 60m -run 'TestSamples|TestFidelity|TestNeeds|TestPackages|TestTerminal(IsOne|Keys|Shell)' ./apid/e2e
	sort -u -o bin/record/programs bin/record/programs
	mkdir -p seccomp-profiles/use && rm -f seccomp-profiles/use/* && mv bin/record/* seccomp-profiles/use/

# The cgroup v2 half: the same tests in a virtual machine whose kernel has nothing else. Software emulation; minutes. Its one processor leaves
# out the test of pinning, which test-root has run.
test-vm: deps test-deps
	@mkdir -p bin/vm
	$(GO) test -c -o bin/vm/ ./pkg/cgroup ./pkg/jail
	$(GO) build $(STATIC) -o bin/vm/sandboxd ./sandboxd
	CGO_ENABLED=0 $(GO) build -o bin/vm/apid ./apid
	$(GO) test -c -tags testvm -o bin/vm/ ./sandboxd
	$(GO) test -c -tags testvm -o bin/vm/guest.test ./scripts/test-vm-selftest
	$(GO) run ./scripts/test-vm-attacks bin/vm/attacks
	gcc -O2 -static -I rootfs/parked -o bin/vm/toy pkg/jail/testdata/parked.c rootfs/parked/parked.c 2>/dev/null
	gcc -O2 -fPIC -shared -Wl,-z,relro,-z,now -o bin/vm/parked.so rootfs/parked/parked.c rootfs/parked/late.c
	scripts/test-vm -timeout 2700 -memory 2048 -with bin/vm/guest.test -with bin/vm/cgroup.test -with bin/vm/jail.test -with bin/vm/toy -with bin/vm/parked.so -with bin/vm/sandboxd.test=/test/sandboxd/ -with bin/vm/sandboxd=/test/bin/ -with bin/vm/apid=/test/bin/ \
		-with seccomp-profiles=/test/seccomp-profiles -with /bin/bash=/bin/bash -with bin/vm/attacks -with sandboxd/testdata=/test/sandboxd/testdata -- \
		'./guest.test' './cgroup.test' 'PARKED_TOY=$$PWD/toy ./jail.test' 'cd sandboxd && SANDBOXD=$$PWD/../bin/sandboxd APID=$$PWD/../bin/apid PARKED_TOY=$$PWD/../toy ATTACKS=$$PWD/../attacks PARKED_BASH=$$PWD/../parked.so ./sandboxd.test -test.run "$(VM_TESTS)" -test.skip ArePinned'

VM_TESTS := Jobs|LimitsFire|KillByClient|NoMoreCgroups|HangUp|Workspaces|BuildVolume|NothingLeaks|Drain|Parked|Burst|CompiledAttacks|ClockSteps|Overlays
VM_TESTS := $(VM_TESTS)|AllJobsTogether|AccountsShareTheCPU|EachCallOfA|TestMeters$$|MetersTell/(cpu|processes)|^TestKills$$

# pkg/cgroup on a kernel of before 6.12: on v2, whose peaks of memory cannot be reset there, and on v1 as systemd mounts it, cpu and cpuacct in one hierarchy. For whoever
# changes it, and not a part of `make test`: Debian 12 is the last to have such a kernel. No daemon runs there: jails need Linux 6.3, and the 6.12 of its backports has no v1 memory controller.
test-vm-v1: deps test-deps
	@mkdir -p bin/vm
	$(GO) test -c -o bin/vm/ ./pkg/cgroup
	scripts/test-vm -v1 -timeout 900 -with bin/vm/cgroup.test -with scripts/test-vm-joined -- './cgroup.test' './test-vm-joined ./cgroup.test'

# Each decoder of foreign bytes for FUZZTIME, 10m or, counted in inputs, 3000x; docs/theory.md has the list.
fuzz:
	@GO=$(GO) scripts/fuzz $(FUZZTIME)

# The performance tables, against the bare commands in the same run; docs/performance.md. ARGS="-only languages" for a part.
bench: bench-deps
	bin/bench -image $(STATE)/current -out bin $(ARGS)

# The same, and the figures of docs/.
bench-docs: bench-deps
	bin/bench -image $(STATE)/current -out docs $(ARGS)

# Mixed load for SOAK_MINUTES; fails on a wrong answer, and if anything grew.
soak: bench-deps
	bin/bench -image $(STATE)/current -out bin -only soak -minutes $(or $(SOAK_MINUTES),5)

# CRASH_KILLS processes of ours killed at random moments under load, 200 by default; minutes. CRASH_SEED repeats a run's choices.
crash: all
	RUNTOOLS_STATE=$(STATE) CRASH_KILLS=$(or $(CRASH_KILLS),200) $(GO) test -count=1 -timeout 60m -v -run RandomKills ./apid/e2e

# Ten times what can be carried out, for OVERLOAD_SECONDS, 60 by default: every request is answered, memory is bounded, no key starves, and
# from 60 on accepted requests take about as long as before: on a machine with nothing else to do.
overload: all
	RUNTOOLS_STATE=$(STATE) OVERLOAD_SECONDS=$(or $(OVERLOAD_SECONDS),60) $(GO) test -count=1 -timeout 60m -v -run 'Overload|Crowd' ./apid/e2e

# Bench, and the sandboxes it is compared with: one that cannot be had is named in the table.
bench-deps: all
	@for package in bubblewrap crun runc firejail; do scripts/deps $$package || true; done
	@$(GO) build -o bin/bench ./scripts/bench

# Binaries, manual pages, completion, profiles, example configuration and systemd units, below DESTDIR.
install: binaries mkrootfs
	install -d $(DESTDIR)/usr/local/bin $(DESTDIR)/usr/share/runtools/rootfs $(DESTDIR)/usr/share/runtools/seccomp-profiles $(DESTDIR)/etc/runtools $(DESTDIR)/usr/lib/systemd/system
	install bin/sandboxd bin/apid bin/runtools bin/mkrootfs $(DESTDIR)/usr/local/bin/
	bin/runtools man $(DESTDIR)/usr/local/share/man/man1
	install -d $(DESTDIR)/usr/share/bash-completion/completions $(DESTDIR)/usr/share/zsh/vendor-completions $(DESTDIR)/usr/share/fish/vendor_completions.d
	bin/runtools completion bash > $(DESTDIR)/usr/share/bash-completion/completions/runtools
	bin/runtools completion zsh > $(DESTDIR)/usr/share/zsh/vendor-completions/_runtools
	bin/runtools completion fish > $(DESTDIR)/usr/share/fish/vendor_completions.d/runtools.fish
	cp -r seccomp-profiles/. $(DESTDIR)/usr/share/runtools/seccomp-profiles/
	cp -rL rootfs/*/ rootfs/host-packages $(DESTDIR)/usr/share/runtools/rootfs/
	install -m 644 sandboxd/sandboxd.example.toml $(DESTDIR)/etc/runtools/
	install -m 644 apid/apid.example.toml $(DESTDIR)/etc/runtools/
	install -m 644 scripts/systemd/*.service scripts/systemd/*.socket $(DESTDIR)/usr/lib/systemd/system/

# The binaries; the image stays.
clean:
	rm -rf bin
