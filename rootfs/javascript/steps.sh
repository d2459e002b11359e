# Node waits for its job at the end of its own start-up (node.cc); the headers are those that came with it.
flags="-O2 -Wall -Wextra -Werror -fPIC"
sprp=$(nm /usr/bin/node | sed -n 's/ t _ZN6detailL4sprpEyy$//p')
gcc-13 $flags -c parked.c
g++-13 $flags -isystem include "-DSPRP=0x${sprp:?}" -fno-exceptions -fno-rtti -fno-omit-frame-pointer -c node.cc
g++-13 -shared -Wl,-z,relro,-z,now -o parked.so node.o parked.o
rm -r include parked.c parked.h zygote.h parked.o node.cc node.o

# npm, which comes with Node elsewhere, by npm.js.
npm=/usr/lib/node_modules/npm
rm -r $npm/docs $npm/man
mv npmrc $npm/
chmod 755 npm.js
ln -s "$PWD/npm.js" /usr/bin/npm
ln -s "$PWD/npm.js" /usr/bin/npx
