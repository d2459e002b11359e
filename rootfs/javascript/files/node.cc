/*
 * node.cc - parks Node.js between its start and its main module.
 *
 * Node runs its own start-up, on a main module that does not exist yet, up to the moment at which it notes that it is complete (the
 * "bootstrapComplete" of perf_hooks): options are read, the isolate, the loaders and what --require names are there; the next thing
 * it does is to look at the main module. That note takes the time, and clock_gettime is ours. What a fresh process would have seen
 * differently is put right when the job comes (the origins of its clocks, the arguments), and node goes on.
 *
 * What is used of node are the API of its addons and four exported names of its inside: a node that lacks one does not load this
 * library. One that never comes to the place ends, because there is no main module, and its pool says so.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <node.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

extern "C" {
#include "parked.h"
}

namespace node {
namespace per_process {
extern uint64_t node_start_time;          // process.uptime()
extern std::shared_ptr<char *> cli_options; // a struct PerProcessOptions
}
namespace performance {
extern uint64_t performance_process_start;         // performance.now()
extern double performance_process_start_timestamp; // performance.timeOrigin
void MarkBootstrapComplete(const v8::FunctionCallbackInfo<v8::Value> &args);
}
}

namespace {

using v8::Array;
using v8::Context;
using v8::Function;
using v8::FunctionCallbackInfo;
using v8::HandleScope;
using v8::Isolate;
using v8::Local;
using v8::Object;
using v8::String;
using v8::Value;

constexpr char workspace[] = "/home/user";

bool learning;       // in_uv_hrtime
bool waiting;        // for the place where to park
void *in_uv_hrtime;  // the address that clock_gettime returns to there
int first_argc;
char **first_argv;
const int32_t *exit_info;
unsigned long long objects_at_start;
v8::Eternal<Array> loaded_modules; // process.moduleLoadList

[[noreturn]] void give_up(const char *what)
{
	dprintf(2, "parked node: %s is not as expected\n", what);
	_exit(127);
}

// ---- a little of V8's API ----

Local<String> text(Isolate *isolate, const char *s)
{
	return String::NewFromUtf8(isolate, s).ToLocalChecked();
}

Local<Value> get(Local<Context> context, Local<Object> object, const char *name)
{
	return object->Get(context, text(context->GetIsolate(), name)).ToLocalChecked();
}

// What require gives for a module of node's own.
Local<Object> builtin(Local<Context> context, Local<Object> process, const char *id)
{
	Local<Value> name = text(context->GetIsolate(), id);
	return get(context, process, "getBuiltinModule").As<Function>()->Call(context, process, 1, &name).ToLocalChecked().As<Object>();
}

// ---- what node keeps to itself: in its Environment or its options, or a pointer or two away, found by its value ----

using words = std::vector<std::string>;

struct internals {
	const int32_t *exit_info; // exiting, exit code, whether there is one
	double *milestones;       // of perf_hooks, in nanoseconds: when timeOrigin was by the wall clock, and by the other
	uint64_t *timer_base;     // from when timers count, in milliseconds
	words *arguments;         // the command without node's options
	words *command;           // with them, as process.report shows it
};

std::vector<std::pair<const char *, const char *>> memory; // what can be looked at: all that malloc gives lies there

void read_map()
{
	unsigned long from, to;
	char mode[5];
	FILE *maps = fopen("/proc/self/maps", "re");
	while (maps && fscanf(maps, "%lx-%lx %4s%*[^\n]", &from, &to, mode) == 3)
		if (strncmp(mode, "rw", 2) == 0)
			memory.push_back({reinterpret_cast<char *>(from), reinterpret_cast<char *>(to)});
	if (maps)
		fclose(maps);
}

bool in_memory(const void *p, size_t size)
{
	auto from = static_cast<const char *>(p);
	for (auto &[start, end] : memory)
		if (start <= from && from < end)
			return size <= static_cast<size_t>(end - from);
	return false;
}

bool is_exit_info(const int32_t *p, int32_t code)
{
	return in_memory(p, 3 * sizeof *p) && p[1] == code && p[2] == 1;
}

bool is_milestones(const double *p)
{
	return in_memory(p, 8 * sizeof *p) && p[0] == node::performance::performance_process_start_timestamp &&
		p[1] == static_cast<double>(node::performance::performance_process_start);
}

bool is_words(char *const *p, const std::vector<const char *> &want)
{
	size_t size = want.size() * sizeof(std::string);
	if (p[1] != p[0] + size || p[2] < p[1] || !in_memory(p[0], size))
		return false;
	auto *word = reinterpret_cast<const std::string *>(p[0]);
	for (const char *w : want) {
		if (word->size() != strlen(w) || !in_memory(word->data(), word->size()) || memcmp(word->data(), w, word->size()) != 0)
			return false;
		word++;
	}
	return true;
}

template <typename T> void found(T *&member, T *p)
{
	if (member && member != p) // two that look alike
		give_up("the environment");
	member = p;
}

internals find_internals(Isolate *isolate, Local<Context> context, Local<Object> process)
{
	constexpr int32_t odd = 0x5e5aa5e5;
	read_map();
	process->Set(context, text(isolate, "exitCode"), v8::Integer::New(isolate, odd)).Check();

	auto *start = reinterpret_cast<uint64_t *>(node::GetCurrentEnvironment(context));
	uint64_t now = uv_now(node::GetCurrentEventLoop(isolate)); // as it was when the loop was made: it has not run yet
	internals in = {};
	for (uint64_t *p = start, *end = start + malloc_usable_size(start) / sizeof *p - 3; p <= end; p++) {
		auto *pointers = reinterpret_cast<char **>(p);
		if (*p == now)
			found(in.timer_base, p);
		if (is_exit_info(reinterpret_cast<int32_t *>(*pointers), odd))
			found<const int32_t>(in.exit_info, reinterpret_cast<int32_t *>(*pointers));
		if (is_words(pointers, {first_argv[0], first_argv[first_argc - 1]}))
			found(in.arguments, reinterpret_cast<words *>(p));
		auto *state = reinterpret_cast<double **>(*pointers); // a PerformanceState?
		for (int i = 0; i < 16 && in_memory(state, 16 * sizeof *state); i++)
			if (is_milestones(state[i]))
				found(in.milestones, state[i]);
	}
	std::vector<const char *> all(first_argv, first_argv + first_argc);
	for (char **p = node::per_process::cli_options.get(), **end = p + 512; p < end && in_memory(p, 3 * sizeof *p); p++)
		if (is_words(p, all))
			found(in.command, reinterpret_cast<words *>(p));
	if (!in.exit_info || !in.milestones || !in.timer_base || !in.arguments || !in.command)
		give_up("the environment");

	process->Set(context, text(isolate, "exitCode"), v8::Integer::New(isolate, 0)).Check(); // as it was: all three are 0
	process->Set(context, text(isolate, "exitCode"), v8::Undefined(isolate)).Check();
	return in;
}

// Loads what process.stdout would load when it is a pipe, and has the modules that --require names get ready.
void warm_up(Local<Context> context, Local<Object> process)
{
	constexpr char option[] = "--require=";
	builtin(context, process, "net");
	for (int i = 1; i < first_argc - 1; i++) {
		if (strncmp(first_argv[i], option, strlen(option)) != 0)
			continue;
		Local<Object> cache = get(context, builtin(context, process, "module"), "_cache").As<Object>();
		Local<Object> module = get(context, cache, first_argv[i] + strlen(option)).As<Object>();
		Local<Value> warm = get(context, get(context, module, "exports").As<Object>(), "warm");
		if (warm->IsFunction() && warm.As<Function>()->Call(context, process, 0, nullptr).IsEmpty())
			give_up(first_argv[i]);
	}
}

// ---- the end ----

unsigned long long count_objects()
{
	unsigned long long count = 0;
	dl_iterate_phdr(
		[](dl_phdr_info *info, size_t, void *data) {
			*static_cast<unsigned long long *>(data) = info->dlpi_adds;
			return 1;
		},
		&count);
	return count;
}

bool is_loaded(const char *module)
{
	Isolate *isolate = Isolate::GetCurrent();
	HandleScope scope(isolate);
	Local<Context> context = isolate->GetCurrentContext();
	Local<Array> modules = loaded_modules.Get(isolate);
	for (uint32_t i = 0; i < modules->Length(); i++)
		if (modules->Get(context, i).ToLocalChecked()->StrictEquals(text(isolate, module)))
			return true;
	return false;
}

// Whether something has work to do when node takes itself apart: a native addon, a trace. All else only frees what the kernel frees too.
bool must_tear_down()
{
	return count_objects() != objects_at_start || is_loaded("NativeModule trace_events");
}

// Node stops workers here, and waits for what they are in the middle of: a child process, say.
void on_process_exit(node::Environment *env, int code)
{
	if (must_tear_down() || is_loaded("NativeModule worker_threads"))
		node::DefaultProcessExitHandler(env, code);
	uv_library_shutdown(); // completes the file operations that were begun
	parked_end(code);
}

// The event loop was empty, the exit handlers ran, workers are stopped.
void on_cleanup(void *)
{
	if (must_tear_down())
		return;
	uv_library_shutdown();
	parked_end(exit_info[2] ? exit_info[1] : 0);
}

// ---- the job ----

// The path of the main module must be what node's path.resolve would make of it.
bool is_plain(const std::string &main)
{
	std::string path = "/" + main + "/";
	for (const char *odd : {"//", "/./", "/../"})
		if (path.find(odd) != std::string::npos)
			return false;
	return main[0] != '-' && main != "inspect"; // the debugger
}

bool fits(const parked_job *job)
{
	static const char *const read_at_start[] = {"HOME=", "OPENSSL_", "SSL_", "ICU_", "UV_", NULL};
	char cwd[sizeof workspace + 1];

	if (job->argc < first_argc || !parked_same_env(job, read_at_start))
		return false;
	for (char **e = job->env; *e; e++)
		if (strncmp(*e, "NODE_", 5) == 0 && strncmp(*e, "NODE_ENV=", 9) != 0) // which only libraries read
			return false;
	for (int i = 0; i < first_argc - 1; i++)
		if (strcmp(job->argv[i], first_argv[i]) != 0)
			return false;
	return is_plain(job->argv[first_argc - 1]) && getcwd(cwd, sizeof cwd) && strcmp(cwd, workspace) == 0;
}

// As if the process had been started this much later.
void move_clocks(Isolate *isolate, const internals &in, uint64_t ns)
{
	*in.timer_base += ns / 1000000;
	node::per_process::node_start_time += ns;
	node::performance::performance_process_start += ns;
	node::performance::performance_process_start_timestamp += static_cast<double>(ns) / 1e3;
	in.milestones[0] = node::performance::performance_process_start_timestamp;
	for (int i = 1; i < 5; i++) // the origin, environment, node, V8; the others are still to come
		in.milestones[i] += static_cast<double>(ns);
	uv_update_time(node::GetCurrentEventLoop(isolate));
}

// Module.runMain, which node calls next, as a property that is read once: it yields the function, bound to the main module's path.
void rename_main(Isolate *isolate, Local<Context> context, Local<Object> process, Local<Value> path)
{
	Local<Object> module = builtin(context, process, "module");
	Local<Object> run = get(context, module, "runMain").As<Object>();
	Local<Value> bound[] = {module, path};
	Local<Value> data[] = {module, run, get(context, run, "bind").As<Function>()->Call(context, run, 2, bound).ToLocalChecked()};
	auto getter = [](const FunctionCallbackInfo<Value> &info) {
		Local<Context> context = info.GetIsolate()->GetCurrentContext();
		Local<Object> saved = info.Data().As<Object>();
		Local<Object> module = saved->Get(context, 0).ToLocalChecked().As<Object>();
		v8::PropertyDescriptor property(saved->Get(context, 1).ToLocalChecked(), true);
		property.set_enumerable(true);
		property.set_configurable(true);
		module->DefineProperty(context, text(info.GetIsolate(), "runMain"), property).Check();
		info.GetReturnValue().Set(saved->Get(context, 2).ToLocalChecked());
	};
	Local<Function> read = Function::New(context, getter, Array::New(isolate, data, 3)).ToLocalChecked();
	v8::PropertyDescriptor property(read, v8::Undefined(isolate));
	property.set_enumerable(true);
	property.set_configurable(true);
	module->DefineProperty(context, text(isolate, "runMain"), property).Check();
}

void set_arguments(Isolate *isolate, Local<Context> context, Local<Object> process, parked_job *job)
{
	Local<Object> argv = get(context, process, "argv").As<Object>();
	int main = first_argc - 1;
	if (strcmp(job->argv[main], first_argv[main]) != 0) {
		Local<Value> path = text(isolate, (std::string(workspace) + "/" + job->argv[main]).c_str());
		argv->Set(context, 1, path).Check();
		rename_main(isolate, context, process, path);
	}
	for (int i = main + 1; i < job->argc; i++)
		argv->Set(context, static_cast<uint32_t>(i - main + 1), text(isolate, job->argv[i])).Check();
	uv_setup_args(job->argc, job->argv); // whose memory process.title writes to
}

void park()
{
	Isolate *isolate = Isolate::GetCurrent();
	HandleScope scope(isolate);
	Local<Context> context = isolate->GetCurrentContext();
	Local<Object> process = get(context, context->Global(), "process").As<Object>();

	warm_up(context, process);
	internals in = find_internals(isolate, context, process);
	exit_info = in.exit_info;

	uint64_t parked_at = uv_hrtime();
	parked_job *job = parked_wait();
	if (!fits(job))
		parked_exec(job);
	move_clocks(isolate, in, uv_hrtime() - parked_at);
	for (int fd = 0; fd < 3; fd++)
		fcntl(fd, F_SETFD, FD_CLOEXEC); // as node does at its start: children get what it gives them
	set_arguments(isolate, context, process, job);
	for (words *w : {in.arguments, in.command}) {
		w->pop_back();
		w->insert(w->end(), job->argv + first_argc - 1, job->argv + job->argc);
	}
	objects_at_start = count_objects();
	loaded_modules.Set(isolate, get(context, process, "moduleLoadList").As<Array>());
	node::SetProcessExitHandler(node::GetCurrentEnvironment(context), on_process_exit);
	node::AddEnvironmentCleanupHook(isolate, on_cleanup, nullptr);
	parked_begin(job);
}

// Whether a call of clock_gettime comes from where node says that its start-up is complete.
bool at_the_place(void *back, void **frame_of_caller)
{
	if (back != in_uv_hrtime) // and only that surely has a frame of its own
		return false;
	char *start = reinterpret_cast<char *>(node::performance::MarkBootstrapComplete), *from = static_cast<char *>(frame_of_caller[1]);
	return start < from && from < start + 0xa0;
}

// ---- V8 draws the secrets of its string hash anew in each process, and takes a tenth of node's start to see which are prime: it
// multiplies bit by bit. The same test with the processor's own instructions gives the same answers. ----

uint64_t multiply(uint64_t a, uint64_t b, uint64_t n)
{
	uint64_t high, low, rest;
	asm("mul %3" : "=d"(high), "=a"(low) : "a"(a), "r"(b) : "cc");
	asm("div %4" : "=d"(rest), "+a"(low) : "d"(high), "a"(low), "r"(n) : "cc");
	return rest;
}

// detail::sprp of V8's third_party/rapidhash-v8: whether n, odd, is a strong probable prime to base a.
int is_probable_prime(uint64_t n, uint64_t a)
{
	int twos = __builtin_ctzll(n - 1);
	uint64_t power = 1;
	for (uint64_t left = (n - 1) >> twos, square = a; left; left >>= 1, square = multiply(square, square, n))
		if (left & 1)
			power = multiply(power, square, n);
	if (power == 1 || power == n - 1)
		return 1;
	for (int i = 1; i < twos; i++) {
		power = multiply(power, power, n);
		if (power <= 1)
			return 0;
		if (power == n - 1)
			return 1;
	}
	return 0;
}

// Written by way of /proc, which leaves the mapping as it is. If that cannot be done, the start takes longer and nothing else.
void replace_prime_test()
{
	unsigned char jump[12] = {0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0}; // mov $target, %rax; jmp *%rax
	int (*target)(uint64_t, uint64_t) = is_probable_prime;
	memcpy(jump + 2, &target, sizeof target);
	int mem = open("/proc/self/mem", O_WRONLY | O_CLOEXEC);
	if (mem < 0)
		return;
	ssize_t ignored = pwrite(mem, jump, sizeof jump, SPRP); // its address, from node's own symbol table
	(void)ignored;
	close(mem);
}

__attribute__((constructor)) void init(int argc, char **argv)
{
	if (!parked_init())
		return;
	first_argc = argc;
	first_argv = argv;
	if (chdir(workspace) < 0) // process.cwd() remembers its first answer
		give_up(workspace);
	replace_prime_test();
	learning = true;
	uv_hrtime();
	learning = false;
	waiting = true;
}

} // namespace

extern "C" int clock_gettime(clockid_t id, timespec *t) noexcept
{
	static int (*const real)(clockid_t, timespec *) = reinterpret_cast<int (*)(clockid_t, timespec *)>(dlsym(RTLD_NEXT, "clock_gettime"));
	void *back = __builtin_return_address(0);
	if (learning)
		in_uv_hrtime = back;
	else if (waiting && at_the_place(back, *static_cast<void ***>(__builtin_frame_address(0)))) {
		waiting = false;
		park();
	}
	return real(id, t);
}
