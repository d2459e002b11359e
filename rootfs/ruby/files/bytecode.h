/*
 * bytecode.h - what Ruby's start compiles, compiled before: 46 files, and 75 strings that RubyGems evaluates, 40 % of the time that a
 * start takes. record.c writes the file when the image is built, runner.c reads it while it is parked.
 *
 * The file is a row of entries, each beginning at a multiple of 16: an entry, the path and its NUL, and, again at a multiple of 16, what
 * RubyVM::InstructionSequence#to_binary gave.
 */
#ifndef RUNTOOLS_RUBY_BYTECODE_H
#define RUNTOOLS_RUBY_BYTECODE_H

#include <stdint.h>

#define BYTECODE_FILE "/usr/lib/runtools/ruby/bytecode"
#define BYTECODE_ALIGN(n) (((n) + 15) & ~(size_t)15)

struct bytecode {
	uint32_t path_size; /* with its NUL */
	uint32_t data_size;
	uint32_t next;   /* the next entry, from this one */
	uint32_t string; /* 1: evaluated; 0: a file that is required */
};

#endif
