/*
 * runner.c - a JVM that waits for its job. The launcher (libjli) runs as ever, with a main class that stands for the job's; when it has
 * created the VM, the job is awaited inside the launcher's own call. Then the launcher's JavaMain starts anew, with the job's class and
 * arguments, and finds the VM that is there: from here on all is the launcher's doing.
 *
 *	main thread           libjli: options, libjvm, pthread_create (ours) ... joins
 *	Java's main thread    park -> JavaMain -> create_vm: the VM, warm-up, parked_wait
 *	                      park -> JavaMain -> create_vm (returns at once) -> main class -> DestroyJavaVM (ours)
 *
 * What a VM does at its end but for Java's own part (shutdown hooks) is left out: it waits for its compilers in steps of 10 ms
 * (JDK-8349927), and frees memory.
 */
#define _GNU_SOURCE
#include "parked.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <jni.h>
#include <limits.h>
#include <link.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAIN_ARGS "/build/main.args" /* Compile.java writes it: "name of the main class" and a new line */
#define WARM "RUNTOOLS_JAVA_WARM"    /* if set, the main class is the compiler's, which has a static method warm() and the native ones below */

typedef jint create_function(JavaVM **vm, void **env, void *args);

/* JavaMainArgs of libjli's java.h, 9 to 25 at least. */
struct java_main_args {
	int argc;
	char **argv;
	int mode;
	char *what;
	create_function *create;
	void *defaults, *created;
};

static void *(*java_main)(void *); /* ThreadJavaMain of libjli */
static struct java_main_args main_args;
static create_function *real_create;
static char **start_argv;
static char start_dir[PATH_MAX];
static int armed, wants_warm;
static sigjmp_buf anew;

static JavaVM *vm;
static JNIEnv *env;
static JavaVM program_vm; /* the VM as the launcher sees it */
static struct JNIInvokeInterface_ program_vm_table;
static const int *live_threads; /* that are no daemons */
static void (JNICALL *real_halt)(jint);

/* ---- the end ---- */

static int is_foreign(struct dl_phdr_info *info, size_t size, void *unused)
{
	static const char *const ours[] = { "/usr/lib", "/lib", "linux-vdso", NULL };
	(void)size, (void)unused;
	if (!*info->dlpi_name)
		return 0;
	for (int i = 0; ours[i]; i++)
		if (strncmp(info->dlpi_name, ours[i], strlen(ours[i])) == 0)
			return 0;
	return 1;
}

/* Ends the program, whose Java part is done. A library of the program's own may have exit handlers: then exit runs them, as ever. */
static void end(jint code)
{
	if (!dl_iterate_phdr(is_foreign, NULL))
		parked_end(code);
}

/* Of java.lang.Shutdown; System.exit, Runtime.halt and the signals end here. */
static void JNICALL halt(JNIEnv *e, jclass class, jint code)
{
	(void)e, (void)class;
	end(code);
	real_halt(code);
}

/* Threads::destroy_vm of the VM up to Java's part, if no other thread keeps the program alive. */
static jint JNICALL destroy_vm(JavaVM *unused)
{
	JavaVMAttachArgs name = { JNI_VERSION_1_2, "DestroyJavaVM", NULL };
	JNIEnv *e;
	(void)unused;
	if (!live_threads || dl_iterate_phdr(is_foreign, NULL) || (*vm)->AttachCurrentThread(vm, (void **)&e, &name) != JNI_OK ||
	    *live_threads > 1)
		return (*vm)->DestroyJavaVM(vm);
	jclass shutdown = (*e)->FindClass(e, "java/lang/Shutdown");
	jmethodID hooks = shutdown ? (*e)->GetStaticMethodID(e, shutdown, "shutdown", "()V") : NULL;
	if (!hooks)
		return (*vm)->DestroyJavaVM(vm);
	(*e)->CallStaticVoidMethod(e, shutdown, hooks);
	return JNI_OK;
}

/* The VM describes its variables to debuggers: an array of these, ended by one without a type. */
struct vm_struct {
	const char *type, *field, *field_type;
	int32_t is_static;
	uint64_t offset;
	void *address;
};

static void find_live_threads(void *libjvm)
{
	struct vm_struct **structs = dlsym(libjvm, "gHotSpotVMStructs");
	for (struct vm_struct *s = structs ? *structs : NULL; s && s->type; s++)
		if (strcmp(s->type, "Threads") == 0 && strcmp(s->field, "_number_of_non_daemon_threads") == 0 && s->is_static)
			live_threads = s->address;
}

static int shorten_end(void)
{
	Dl_info where;
	if (!dladdr((void *)real_create, &where))
		return 0;
	void *libjvm = dlopen(where.dli_fname, RTLD_NOW | RTLD_NOLOAD);
	real_halt = libjvm ? (void (JNICALL *)(jint))dlsym(libjvm, "JVM_Halt") : NULL;
	if (!real_halt)
		return 0;
	find_live_threads(libjvm);
	JNINativeMethod method = { "halt0", "(I)V", (void *)halt };
	jclass shutdown = (*env)->FindClass(env, "java/lang/Shutdown");
	if (!shutdown || (*env)->RegisterNatives(env, shutdown, &method, 1) != 0)
		return 0;
	(*env)->DeleteLocalRef(env, shutdown);
	program_vm_table = **vm;
	program_vm_table.DestroyJavaVM = destroy_vm;
	program_vm = &program_vm_table;
	return 1;
}

/* ---- the job ---- */

/* Reads the name that the compile job left. Anything but a plain name is left to the launcher. */
static int read_main_class(char *name, size_t size)
{
	int fd = open(MAIN_ARGS, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = fd < 0 ? -1 : read(fd, name, size);
	if (fd >= 0)
		close(fd);
	if (n < 4 || n == (ssize_t)size || name[0] != '"' || name[n - 2] != '"' || name[n - 1] != '\n')
		return 0;
	memmove(name, name + 1, (size_t)n - 3);
	name[n -= 3] = '\0';
	for (const char *p = name; *p; p++)
		if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_$.", *p) && (unsigned char)*p < 0x80)
			return 0;
	/* Names that end so may be those of sources. */
	return strlen(name) == (size_t)n && (n < 5 || strcmp(name + n - 5, ".java") != 0);
}

/* Whether the job is the command that the VM was started with, but for the main class and its arguments. */
static int take_over(const struct parked_job *job)
{
	static const char *const prefixes[] = { "JAVA", "JDK_", "_JAVA", "CLASSPATH", "_ALT_", "TZ", "NLSPATH", NULL };
	static char name[4096];
	char dir[PATH_MAX];
	int at = 0;

	if (!parked_same_env(job, prefixes) || !getcwd(dir, sizeof dir) || strcmp(dir, start_dir) != 0)
		return 0;
	for (; start_argv[at + 1]; at++)
		if (at >= job->argc || strcmp(job->argv[at], start_argv[at]) != 0)
			return 0;
	if (at >= job->argc)
		return 0;
	if (strcmp(job->argv[at], "@" MAIN_ARGS) == 0) {
		if (!read_main_class(name, sizeof name))
			return 0;
		main_args.what = name;
	} else if (strcmp(job->argv[at], start_argv[at]) != 0) {
		return 0;
	}
	main_args.argc = job->argc - at - 1;
	main_args.argv = job->argv + at + 1;
	return 1;
}

static jstring platform_string(const char *bytes)
{
	jclass helper = (*env)->FindClass(env, "sun/launcher/LauncherHelper");
	jmethodID make = helper ? (*env)->GetStaticMethodID(env, helper, "makePlatformString", "(Z[B)Ljava/lang/String;") : NULL;
	jsize length = (jsize)strlen(bytes);
	jbyteArray array = make ? (*env)->NewByteArray(env, length) : NULL;
	if (!array)
		return NULL;
	(*env)->SetByteArrayRegion(env, array, 0, length, (const jbyte *)bytes);
	return (*env)->CallStaticObjectMethod(env, helper, make, JNI_TRUE, array);
}

/* sun.java.command: the launcher hands it to the VM as an option, which came too early. */
static int set_command(void)
{
	size_t size = strlen(main_args.what) + 1;
	for (int i = 0; i < main_args.argc; i++)
		size += strlen(main_args.argv[i]) + 1;
	char *command = malloc(size), *end = command ? stpcpy(command, main_args.what) : NULL;
	for (int i = 0; command && i < main_args.argc; i++) {
		*end++ = ' ';
		end = stpcpy(end, main_args.argv[i]);
	}
	if (!command || (*env)->PushLocalFrame(env, 16) != 0)
		return 0;
	jclass system = (*env)->FindClass(env, "java/lang/System");
	const char *type = "(Ljava/lang/String;Ljava/lang/String;)Ljava/lang/String;";
	jmethodID set = system ? (*env)->GetStaticMethodID(env, system, "setProperty", type) : NULL;
	jstring key = set ? (*env)->NewStringUTF(env, "sun.java.command") : NULL;
	jstring value = key ? platform_string(command) : NULL;
	if (value)
		(*env)->CallStaticObjectMethod(env, system, set, key, value);
	free(command);
	(*env)->PopLocalFrame(env, NULL);
	return value && !(*env)->ExceptionCheck(env);
}

/* ---- the compiler's further jobs ---- */

static struct parked_job *job;

static jboolean JNICALL again(JNIEnv *e, jclass class, jint code)
{
	(void)e, (void)class;
	if (!job->again)
		return JNI_FALSE;
	parked_again(code);
	return JNI_TRUE;
}

static jobjectArray JNICALL next(JNIEnv *e, jclass class)
{
	(void)class;
	job = parked_wait();
	if (!take_over(job))
		parked_exec(job);
	parked_begin(job);
	jobjectArray words = (*e)->NewObjectArray(e, main_args.argc, (*e)->FindClass(e, "java/lang/String"), NULL);
	for (int i = 0; words && i < main_args.argc; i++)
		(*e)->SetObjectArrayElement(e, words, i, platform_string(main_args.argv[i]));
	return words;
}

static const JNINativeMethod compiler_methods[] = { { "again", "(I)Z", (void *)again }, { "next", "()[Ljava/lang/String;", (void *)next } };

/* ---- before the job ---- */

/* For the compiler: the launcher's own way to its main class, and a call of warm(). */
static int warm(void)
{
	if (!wants_warm)
		return 1;
	if ((*env)->PushLocalFrame(env, 16) != 0)
		return 0;
	jclass helper = (*env)->FindClass(env, "sun/launcher/LauncherHelper");
	jmethodID load = helper ? (*env)->GetStaticMethodID(env, helper, "checkAndLoadMain", "(ZILjava/lang/String;)Ljava/lang/Class;") : NULL;
	jstring name = load ? platform_string(main_args.what) : NULL;
	jclass main_class = name ? (*env)->CallStaticObjectMethod(env, helper, load, JNI_TRUE, main_args.mode, name) : NULL;
	jmethodID method = main_class ? (*env)->GetStaticMethodID(env, main_class, "warm", "()V") : NULL;
	if (method && (*env)->RegisterNatives(env, main_class, compiler_methods, 2) == 0)
		(*env)->CallStaticVoidMethod(env, main_class, method);
	int warmed = method && !(*env)->ExceptionCheck(env);
	if (!warmed)
		(*env)->ExceptionDescribe(env);
	(*env)->PopLocalFrame(env, NULL);
	return warmed;
}

/* What the launcher takes for JNI_CreateJavaVM. */
static jint create_vm(JavaVM **pvm, void **penv, void *args)
{
	if (!vm) {
		jint error = real_create(&vm, (void **)&env, args);
		if (error)
			return error;
		if (!warm() || !shorten_end())
			_exit(127);
		job = parked_wait();
		if (!take_over(job) || !set_command())
			parked_exec(job);
		parked_begin(job);
		siglongjmp(anew, 1);
	}
	*pvm = &program_vm;
	*penv = env;
	return JNI_OK;
}

/* Java's main thread. */
static void *park(void *args)
{
	main_args = *(struct java_main_args *)args;
	real_create = main_args.create;
	main_args.create = create_vm;
	sigsetjmp(anew, 0);
	void *code = java_main(&main_args);
	end((jint)(intptr_t)code);
	return code;
}

/* The first thread of all is the launcher's. */
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument)
{
	static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
	if (!real)
		real = (int (*)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *))dlsym(RTLD_NEXT, "pthread_create");
	if (armed) {
		armed = 0;
		java_main = start;
		start = park;
	}
	return real(thread, attributes, start, argument);
}

__attribute__((constructor)) static void enter(int argc, char **argv)
{
	(void)argc;
	if (!parked_init())
		return;
	start_argv = argv;
	wants_warm = getenv(WARM) != NULL;
	unsetenv(WARM);
	armed = getcwd(start_dir, sizeof start_dir) != NULL;
}
