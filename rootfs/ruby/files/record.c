/*
 * record.c - preloaded into one start of Ruby when the image is built: writes down the bytecode of all that it compiles. Not in the image.
 */
#define _GNU_SOURCE
#include "bytecode.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uintptr_t VALUE;

VALUE rb_funcall(VALUE receiver, uintptr_t method, int count, ...);
uintptr_t rb_intern(const char *name);
VALUE rb_iseqw_new(const void *iseq);
char *rb_string_value_ptr(volatile VALUE *string);
char *rb_string_value_cstr(volatile VALUE *string);
long rb_num2long(VALUE number);

static FILE *out;

static void *next(const char *name)
{
	void *function = dlsym(RTLD_NEXT, name);
	if (!function || (!out && !(out = fopen("bytecode", "we"))))
		abort();
	return function;
}

static void pad(void)
{
	while (ftell(out) % 16)
		putc(0, out);
}

static void record(const void *iseq, VALUE path, int string)
{
	VALUE data = rb_funcall(rb_iseqw_new(iseq), rb_intern("to_binary"), 0);
	const char *name = rb_string_value_cstr(&path);
	struct bytecode b = { .path_size = (uint32_t)strlen(name) + 1, .string = string };

	b.data_size = (uint32_t)rb_num2long(rb_funcall(data, rb_intern("bytesize"), 0));
	b.next = BYTECODE_ALIGN(BYTECODE_ALIGN(sizeof b + b.path_size) + b.data_size);
	fwrite(&b, sizeof b, 1, out);
	fwrite(name, b.path_size, 1, out);
	pad();
	fwrite(rb_string_value_ptr(&data), b.data_size, 1, out);
	pad();
	if (fflush(out))
		abort();
}

const void *rb_iseq_new_top(const void *body, VALUE name, VALUE path, VALUE realpath, const void *parent)
{
	const void *(*real)(const void *, VALUE, VALUE, VALUE, const void *) = next("rb_iseq_new_top");
	const void *iseq = real(body, name, path, realpath, parent);
	record(iseq, path, 0);
	return iseq;
}

/* What is evaluated is compiled once more, as a file of its own: bytecode with a parent cannot be written. */
const void *rb_iseq_new_eval(const void *body, VALUE name, VALUE path, VALUE realpath, int line, const void *parent, int depth)
{
	const void *(*top)(const void *, VALUE, VALUE, VALUE, const void *) = next("rb_iseq_new_top");
	const void *(*real)(const void *, VALUE, VALUE, VALUE, int, const void *, int) = next("rb_iseq_new_eval");
	record(top(body, name, path, realpath, NULL), path, 1);
	return real(body, name, path, realpath, line, parent, depth);
}
