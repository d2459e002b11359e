/*
 * end.c - spares CPython to take apart, object by object, what a program that has ended leaves: two thirds of what a parked one spends on a hello.
 *
 * Python does so after exit handlers have run and the streams are flushed, and it is more than tidiness: objects that die then may run code of the
 * program's (__del__, a generator's finally, a weak reference's callback) or write what they hold (a file). So at that point we look at all objects, and only
 * if none has anything left to do are they kept alive and out of the garbage collector's sight, where Python's own way to the exit passes them by. If one has,
 * or we cannot tell, nothing is changed. Other ends (os._exit, signals, exec) never come here.
 */
#define _GNU_SOURCE
#include "cpython.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STREAMS 9 /* text, buffer and raw file of stdin, stdout, stderr */
#define MAX_KNOWN 64

static PyObject *streams[STREAMS];
static struct {
	PyTypeObject *type;
	ssize_t references; /* each instance has one */
} known[MAX_KNOWN]; /* classes with finalizers that were there before the program */
static int known_count;
static void *removes_from_set;         /* what classes of abc have for a callback: it removes the dead from their caches */
static unsigned long long libraries;   /* that were loaded, ever */
static pid_t watched;                  /* the program's process, not one that it forked */

/* ---- which objects have something to do when they die ---- */

enum kind { UNKNOWN, PLAIN, CLASS, WEAK, FINALIZED };

static int finalizes(PyTypeObject *type)
{
	return PyType_GetSlot(type, SLOT_FINALIZE) || PyType_GetSlot(type, SLOT_DEL);
}

static enum kind classify(PyTypeObject *type)
{
	if (PyType_GetFlags(type) & FLAG_IS_TYPE)
		return CLASS;
	if (finalizes(type))
		return FINALIZED;
	if (PyType_IsSubtype(type, &_PyWeakref_RefType) || type == &_PyWeakref_ProxyType || type == &_PyWeakref_CallableProxyType)
		return WEAK;
	return PLAIN;
}

/* There are thousands of objects, and dozens of types. */
static enum kind kind_of(PyTypeObject *type)
{
	static struct {
		PyTypeObject *type;
		enum kind kind;
	} cache[256];
	size_t at = ((uintptr_t)type >> 4) % 256;

	if (cache[at].type != type) {
		cache[at].type = type;
		cache[at].kind = classify(type);
	}
	return cache[at].kind;
}

static void *callback_of(PyObject *weak)
{
	PyObject *callback = ((struct weak_reference *)weak)->callback;
	return callback && callback->type == &PyCFunction_Type ? PyCFunction_GetFunction(callback) : callback;
}

/* Whether a class was there before the program, and has no instances now that the collector does not know. */
static int is_harmless(PyTypeObject *type)
{
	for (int i = 0; i < known_count; i++)
		if (known[i].type == type)
			return (PyType_GetFlags(type) & FLAG_HAVE_GC) || ((PyObject *)type)->references <= known[i].references;
	return 0;
}

static int is_stream(const PyObject *object)
{
	for (int i = 0; i < STREAMS; i++)
		if (streams[i] == object)
			return 1;
	return 0;
}

/* An instance that the collector does not know is judged by its class, which it does know. */
static int dies_in_silence(PyObject *object)
{
	switch (kind_of(object->type)) {
	case PLAIN:
		return 1;
	case CLASS:
		return !finalizes((PyTypeObject *)object) || is_harmless((PyTypeObject *)object);
	case WEAK: {
		void *callback = callback_of(object);
		return !callback || callback == removes_from_set;
	}
	case FINALIZED:
		return is_stream(object);
	default:
		return 0;
	}
}

/* ---- before the program ---- */

static int remember(PyObject *object, void *failed)
{
	switch (kind_of(object->type)) {
	case CLASS:
		if (!finalizes((PyTypeObject *)object))
			break;
		if (known_count == MAX_KNOWN) {
			*(int *)failed = 1;
		} else {
			known[known_count].type = (PyTypeObject *)object;
			known[known_count++].references = object->references;
		}
		break;
	case WEAK:
		if (callback_of(object))
			removes_from_set = callback_of(object);
		break;
	default:
		break;
	}
	return 1;
}

/*
 * The files that sys has for streams, in the order of streams; 0 if they are none. With known_streams, 0 at the first that is another one, which is asked nothing: it
 * may be the program's own object, and write or wait for ever when it is asked for an attribute.
 */
static int find_streams(PyObject **found, PyObject *const *known_streams)
{
	static const char *const names[] = { "stdin", "stdout", "stderr" };
	static const char *const below[] = { "buffer", "raw" };

	for (int i = 0; i < STREAMS; i++) {
		PyObject *file; /* borrowed: sys holds the first, and each the next */
		if (i % 3 == 0)
			file = PySys_GetObject(names[i / 3]);
		else if ((file = PyObject_GetAttrString(found[i - 1], below[i % 3 - 1])))
			Py_DecRef(file);
		found[i] = file;
		if (!file || (known_streams && file != known_streams[i])) {
			PyErr_Clear();
			return 0;
		}
	}
	return 1;
}

static int first_only(struct dl_phdr_info *info, size_t size, void *count)
{
	(void)size;
	*(unsigned long long *)count = info->dlpi_adds;
	return 1;
}

static unsigned long long libraries_loaded(void)
{
	unsigned long long count = 0;
	dl_iterate_phdr(first_only, &count);
	return count;
}

int end_prepare(void)
{
	int failed = 0;
	PyUnstable_GC_VisitObjects(remember, &failed);
	libraries = libraries_loaded();
	return !failed && find_streams(streams, NULL);
}

void end_watch(void)
{
	watched = getpid();
}

/* ---- after the program ---- */

/* Whether Python's streams are what they were, all they were given was written, and no other code may know of an object's death. */
static int is_simple(void)
{
	PyObject *now[STREAMS];

	if (!find_streams(now, streams))
		return 0;
	/* A write that failed for now is made again by the file's finalizer. */
	for (int fd = 1; fd <= 2; fd++) {
		int flags = fcntl(fd, F_GETFL);
		if (flags < 0 || (flags & O_NONBLOCK))
			return 0;
	}
	return libraries_loaded() == libraries && !PyInterpreterState_Next(PyInterpreterState_Head()) &&
		!PyDict_GetItemString(PyImport_GetModuleDict(), "gc"); /* which can have callbacks and a log */
}

static int check(PyObject *object, void *silent)
{
	return *(int *)silent = dies_in_silence(object);
}

static void keep(PyObject *object)
{
	if (!object)
		return;
	Py_IncRef(object);
	PyObject_GC_UnTrack(object);
}

/* One later, for the collector goes on from the one that it is at. */
static int keep_last(PyObject *object, void *last)
{
	keep(*(PyObject **)last);
	*(PyObject **)last = object;
	return 1;
}

/* Takes no memory: the program may have left none. */
static void keep_all(void)
{
	int silent = 0;
	PyObject *last = NULL;

	PyUnstable_GC_VisitObjects(check, &silent);
	if (!silent || !is_simple())
		return;
	PyUnstable_GC_VisitObjects(keep_last, &last);
	keep(last);
}

/* Python gives SIGINT back when its exit handlers have run, the streams are flushed and no other thread of its own is left, and before it collects anything. */
int sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
	static int (*real)(int, const struct sigaction *, struct sigaction *);

	if (!real && !(real = (int (*)(int, const struct sigaction *, struct sigaction *))dlsym(RTLD_NEXT, "sigaction")))
		abort();
	if (watched && number == SIGINT && action && action->sa_handler == SIG_DFL && Py_IsFinalizing() && getpid() == watched) {
		watched = 0;
		keep_all();
	}
	return real(number, action, old);
}
