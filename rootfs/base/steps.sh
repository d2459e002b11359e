# Run inside the base with all packages, before it is sealed. Working directory /usr/lib/runtools, which holds envkeep.c.

# Debian's gcc package (version 14) came with rustc and is taken out; programs call the compiler by these names.
for t in gcc gcc-ar gcc-nm gcc-ranlib cpp; do ln -sf "$t-13" "/usr/bin/$t"; done
ln -sf gcc-13 /usr/bin/cc
if [ -e /usr/bin/g++-13 ]; then ln -sf g++-13 /usr/bin/g++; ln -sf g++-13 /usr/bin/c++; fi

gcc-13 -O2 -Wall -Wextra -Werror -fPIC -shared -Wl,-z,relro,-z,now -o envkeep.so envkeep.c -ldl
rm envkeep.c

cat >/etc/passwd <<'EOF'
root:x:0:0:root:/root:/usr/sbin/nologin
user:x:1000:1000:user:/home/user:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
EOF
cat >/etc/group <<'EOF'
root:x:0:
user:x:1000:
nogroup:x:65534:
EOF
cat >/etc/hosts <<'EOF'
127.0.0.1 localhost sandbox
::1 localhost sandbox
EOF
cat >/etc/nsswitch.conf <<'EOF'
passwd: files
group: files
hosts: files
networks: files
protocols: files
services: files
EOF
echo sandbox >/etc/hostname
: >/etc/machine-id
ln -sf /usr/share/zoneinfo/Etc/UTC /etc/localtime
echo Etc/UTC >/etc/timezone
rm -f /etc/resolv.conf && : >/etc/resolv.conf

rm -rf /home/* /root/.[!.]* /root/* /build /packages /tmp/* /run/* /var/tmp/*
mkdir -p /home/user /build /packages /tmp /proc /dev /sys
ldconfig
