# Ruby waits for its job with everything loaded that a start loads, before it reads the program.
gcc-13 -O2 -Wall -Wextra -Werror -fPIC -shared -Wl,-z,relro,-z,now -o parked.so parked.c runner.c
rm parked.c runner.c parked.h zygote.h
