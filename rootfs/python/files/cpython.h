/*
 * cpython.h - what we use of CPython's C API: its headers are no part of the image, python3 exports these.
 */
#ifndef CPYTHON_H
#define CPYTHON_H

#include <stddef.h>
#include <sys/types.h>
#include <wchar.h>

#define VERSION 0x030d /* upper half of Py_Version: whose layouts are below */

typedef struct type PyTypeObject;

typedef struct object {
	ssize_t references;
	PyTypeObject *type;
} PyObject;

struct weak_reference { /* PyWeakReference */
	PyObject head;
	PyObject *object, *callback;
};

struct status { /* PyStatus */
	int type; /* 0: no error, no exit */
	const char *function, *message;
	int exit_code;
};

struct strings { /* PyWideStringList */
	ssize_t count;
	wchar_t **items;
};

/* PyConfig: what Py_RunMain and subinterpreters go by. Its layout is fixed within a minor version. */
union config {
	struct {
		char before[112];
		struct strings orig_argv, argv;
		char between[272];
		wchar_t *run_filename;
	};
	char all[4096]; /* of its 448 bytes */
};

extern const unsigned long Py_Version;
extern char _PyRuntime[];
void Py_GetArgcArgv(int *, wchar_t ***);
void PyConfig_InitPythonConfig(union config *);
struct status PyConfig_SetBytesArgv(union config *, ssize_t, char *const *);
struct status Py_InitializeFromConfig(const union config *);
void PyConfig_Clear(union config *);
const union config *_Py_GetConfig(void);
int Py_RunMain(void);
wchar_t *Py_DecodeLocale(const char *, size_t *);
void *PyMem_RawMalloc(size_t);
void PyMem_RawFree(void *);
PyObject *PyImport_ImportModule(const char *);
PyObject *PyObject_GetAttrString(PyObject *, const char *);
PyObject *PyObject_CallMethod(PyObject *, const char *, const char *, ...);
PyObject *PyUnicode_FromWideChar(const wchar_t *, ssize_t);
const char *PyUnicode_AsUTF8(PyObject *);
PyObject *PyBytes_FromStringAndSize(const char *, ssize_t);
PyObject *PyList_New(ssize_t);
int PyList_SetItem(PyObject *, ssize_t, PyObject *);
void PyDict_Clear(PyObject *);
PyObject *PyDict_New(void);
PyObject *PyDict_SetDefault(PyObject *, PyObject *, PyObject *);
PyObject *PyRun_String(const char *, int, PyObject *, PyObject *);
#define FILE_INPUT 257 /* Py_file_input */
int PySys_SetObject(const char *, PyObject *);
void Py_DecRef(PyObject *);

/* For end.c. */
extern PyTypeObject PyCFunction_Type, _PyWeakref_RefType, _PyWeakref_ProxyType, _PyWeakref_CallableProxyType;
void PyUnstable_GC_VisitObjects(int (*)(PyObject *, void *), void *);
void PyObject_GC_UnTrack(void *);
void Py_IncRef(PyObject *);
void *PyType_GetSlot(PyTypeObject *, int);
#define SLOT_DEL 53      /* Py_tp_del */
#define SLOT_FINALIZE 80 /* Py_tp_finalize */
unsigned long PyType_GetFlags(PyTypeObject *);
#define FLAG_IS_TYPE (1UL << 31) /* Py_TPFLAGS_TYPE_SUBCLASS */
#define FLAG_HAVE_GC (1UL << 14) /* Py_TPFLAGS_HAVE_GC: the collector knows its instances */
int PyType_IsSubtype(PyTypeObject *, PyTypeObject *);
void *PyCFunction_GetFunction(PyObject *);
PyObject *PySys_GetObject(const char *);
PyObject *PyImport_GetModuleDict(void);
PyObject *PyDict_GetItemString(PyObject *, const char *);
void *PyInterpreterState_Head(void);
void *PyInterpreterState_Next(void *);
void PyErr_Clear(void);
int Py_IsFinalizing(void);

/* end.c: prepare once the interpreter is there, watch when the program begins. prepare reports whether it could. */
int end_prepare(void);
void end_watch(void);

#endif
