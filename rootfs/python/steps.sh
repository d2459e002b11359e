# Python waits for its job with the interpreter initialised.
gcc-13 -O2 -Wall -Wextra -Werror -fPIC -shared -Wl,-z,relro,-z,now -o parked.so parked.c python.c end.c
rm parked.c python.c end.c cpython.h parked.h zygote.h
mv pip.conf /etc/
