# Ruby waits for its job with everything loaded that a start loads, before it reads the program.
gcc-13 -O2 -Wall -Wextra -Werror -fPIC -shared -Wl,-z,relro,-z,now -o parked.so parked.c runner.c

# One start is recorded, with the environment that parked ones have. The runner knows 3.3.
gcc-13 -O2 -Wall -Wextra -Werror -fPIC -shared -o record.so record.c
case $(/usr/bin/ruby -e 'print RUBY_VERSION') in 3.3.*) env -i HOME=/home/user LANG=C.UTF-8 LD_PRELOAD=./record.so /usr/bin/ruby -e 0 ;; esac
rm ./*.c ./*.h record.so
mv gemrc /etc/
ln -s /usr/bin/bundle3.* /usr/local/bin/bundle
