#include "tests/harness/process.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "tests/harness/wait.h"

#define TAIL_BYTES 20000
#define WORDS_MAX  64

extern char **environ;

struct harness_process {
	struct harness_process *next; /* of all that were ever started */
	char name[64];
	char folder[PATH_MAX];
	char log[PATH_MAX];
	char *argv[WORDS_MAX + 1];
	char *environment[WORDS_MAX + 1];
	pid_t pid; /* 0: it has ended */
	int status;
};

static struct harness_process *all;

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "harness: %s (%s)\n", what, strerror(errno));
	harness_dump_logs();
	abort();
}

/* ---- where the programs are ------------------------------------------------- */

const char *harness_build(const char *path, char *out, size_t room)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

	if (n < 0)
		die("no /proc/self/exe");
	self[n] = '\0';
	for (int up = 0; up < 3; up++) { /* MODE/tests/integration/test_x */
		char *slash = strrchr(self, '/');

		if (slash)
			*slash = '\0';
	}
	if ((size_t)snprintf(out, room, "%s/%s", self, path) >= room)
		die("a path is too long");
	return out;
}

const char *harness_program(const char *name, char *out, size_t room)
{
	const char *folder = getenv("PIRN_BIN");
	char path[PATH_MAX];

	if (!folder)
		return harness_build(strcat(strcpy(path, "bin/"), name), out, room);
	if ((size_t)snprintf(out, room, "%s/%s", folder, name) >= room)
		die("a path is too long");
	return out;
}

/* ---- starting --------------------------------------------------------------- */

static void set_environment(const struct harness_process *p)
{
	char *ours[256];
	size_t n = 0;

	for (size_t i = 0; environ[i] && n < 255; i++)
		if (strncmp(environ[i], "PIRN_", 5) == 0)
			ours[n++] = strndup(environ[i], strcspn(environ[i], "="));
	for (size_t i = 0; i < n; i++)
		unsetenv(ours[i]);
	for (size_t i = 0; p->environment[i]; i++)
		putenv(p->environment[i]);
}

static _Noreturn void become(const struct harness_process *p, pid_t parent)
{
	int log = open(p->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	int null = open("/dev/null", O_RDONLY);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent || log < 0 || null < 0)
		_exit(125);
	setpgid(0, 0);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	dup2(null, 0);
	dup2(log, 1);
	dup2(log, 2);
	close_range(3, ~0u, 0);
	set_environment(p);
	if (chdir(p->folder) != 0)
		_exit(125);
	execvp(p->argv[0], p->argv);
	dprintf(2, "harness: %s: %s\n", p->argv[0], strerror(errno));
	_exit(127);
}

void harness_again(struct harness_process *p)
{
	pid_t parent = getpid();

	if (p->pid)
		die("started twice");
	fflush(NULL);
	p->pid = fork();
	if (p->pid < 0)
		die("cannot fork");
	if (p->pid == 0)
		become(p, parent);
}

static void copy_words(char *to[WORDS_MAX + 1], const char *const *from)
{
	for (size_t i = 0; from && from[i]; i++) {
		if (i == WORDS_MAX)
			die("too many words");
		to[i] = strdup(from[i]);
		if (!to[i])
			die("out of memory");
	}
}

struct harness_process *harness_spawn(const char *name, const char *folder, const char *const *argv,
	const char *const *environment)
{
	static unsigned serial;
	struct harness_process *p = calloc(1, sizeof *p);
	char path[PATH_MAX];

	if (!p)
		die("out of memory");
	(void)snprintf(p->name, sizeof p->name, "%s", name);
	(void)snprintf(p->folder, sizeof p->folder, "%s", folder ? folder : harness_dir());
	(void)snprintf(p->log, sizeof p->log, "%s/%03u-%s.log", harness_dir(), ++serial, name);
	copy_words(p->argv, argv);
	copy_words(p->environment, environment);
	if (!strchr(p->argv[0], '/') && strncmp(p->argv[0], "pirn", 4) == 0) {
		free(p->argv[0]);
		p->argv[0] = strdup(harness_program(argv[0], path, sizeof path));
	}
	p->next = all;
	all = p;
	harness_again(p);
	return p;
}

void harness_free(struct harness_process **pp)
{
	if (*pp)
		harness_kill_hard(*pp);
	*pp = NULL; /* its record stays for harness_dump_logs */
}

void harness_end_all(void)
{
	while (all) {
		struct harness_process *p = all;

		all = p->next;
		harness_kill_hard(p);
		for (size_t i = 0; p->argv[i]; i++)
			free(p->argv[i]);
		for (size_t i = 0; p->environment[i]; i++)
			free(p->environment[i]);
		free(p);
	}
}

/* ---- life and death ---------------------------------------------------------- */

pid_t harness_pid(const struct harness_process *p)
{
	return p->pid;
}

static bool collect(struct harness_process *p, int flags)
{
	int status;
	pid_t pid;

	do
		pid = waitpid(p->pid, &status, flags);
	while (pid < 0 && errno == EINTR);
	if (pid != p->pid)
		return false;
	p->pid = 0;
	p->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	return true;
}

bool harness_is_running(struct harness_process *p)
{
	return p->pid && !collect(p, WNOHANG);
}

void harness_signal(struct harness_process *p, int number)
{
	if (p->pid)
		kill(p->pid, number);
}

void harness_kill_hard(struct harness_process *p)
{
	if (!p->pid)
		return;
	kill(p->pid, SIGKILL);
	collect(p, 0);
}

void harness_pause(struct harness_process *p)
{
	kill(p->pid, SIGSTOP);
	while (waitpid(p->pid, NULL, WUNTRACED) < 0 && errno == EINTR)
		;
}

void harness_resume(struct harness_process *p)
{
	kill(p->pid, SIGCONT);
}

int harness_wait(struct harness_process *p, unsigned timeout_ms)
{
	uint64_t end = harness_wait_end(timeout_ms);

	while (harness_is_running(p))
		harness_wait_pause(end, p->name, "a program should have ended", 0);
	return p->status;
}

int harness_run(const char *name, const char *folder, const char *const *argv,
	const char *const *environment, struct harness_process **out)
{
	struct harness_process *p = harness_spawn(name, folder, argv, environment);

	if (out)
		*out = p;
	return harness_wait(p, PATIENCE_MS);
}

/* ---- what they wrote ----------------------------------------------------------- */

static char *read_file(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t room = 0;

	if (!file || getdelim(&text, &room, '\0', file) < 0) {
		free(text);
		text = strdup("");
	}
	if (file)
		fclose(file);
	return text;
}

char *harness_output(const struct harness_process *p)
{
	return read_file(p->log);
}

bool harness_wrote(const struct harness_process *p, const char *text)
{
	char *output = harness_output(p);
	bool found = strstr(output, text) != NULL;

	free(output);
	return found;
}

static bool field_text(const json_t *line, const char *key, char *out, size_t room)
{
	const json_t *value = json_object_get(line, key);
	char *dump;

	if (!value)
		return false;
	if (json_is_string(value)) {
		(void)snprintf(out, room, "%s", json_string_value(value));
		return true;
	}
	dump = json_dumps(value, JSON_ENCODE_ANY);
	(void)snprintf(out, room, "%s", dump ? dump : "");
	free(dump);
	return true;
}

struct search {
	const char *id, *key, *value;
	char *out; /* of the last match's key */
	size_t room;
	unsigned count;
};

static void look_at(struct search *s, const char *text)
{
	json_t *line = text[0] == '{' ? json_loads(text, 0, NULL) : NULL;
	const char *id = json_string_value(json_object_get(line, "id"));
	char field[1024];

	if (id && strcmp(id, s->id) == 0) {
		if (!s->key)
			s->count++;
		else if (field_text(line, s->key, field, sizeof field) &&
			 (!s->value || strcmp(field, s->value) == 0)) {
			s->count++;
			if (s->out)
				(void)snprintf(s->out, s->room, "%s", field);
		}
	}
	json_decref(line);
}

static unsigned search_log(const struct harness_process *p, struct search *s)
{
	char *output = harness_output(p);
	char *rest = NULL;

	for (char *line = strtok_r(output, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		if (strstr(line, s->id))
			look_at(s, line);
	free(output);
	return s->count;
}

unsigned harness_log_count(
	const struct harness_process *p, const char *id, const char *key, const char *value)
{
	struct search s = { .id = id, .key = key, .value = value };

	return search_log(p, &s);
}

bool harness_logged(const struct harness_process *p, const char *id)
{
	return harness_log_count(p, id, NULL, NULL) > 0;
}

bool harness_log_field(
	const struct harness_process *p, const char *id, const char *key, char *out, size_t room)
{
	struct search s = { .id = id, .key = key, .out = out, .room = room };

	return search_log(p, &s) > 0;
}

void harness_dump_logs(void)
{
	for (const struct harness_process *p = all; p; p = p->next) {
		char *output = harness_output(p);
		size_t size = strlen(output);

		if (size)
			fprintf(stderr, "---- %s (%s)%s\n%s\n", p->name, p->log,
				size > TAIL_BYTES ? ", its end" : "",
				output + (size > TAIL_BYTES ? size - TAIL_BYTES : 0));
		free(output);
	}
}

/* ---- /proc ------------------------------------------------------------------------ */

struct person {
	pid_t pid, parent;
	char state;
	char name[32];
};

static bool read_person(const char *pid, struct person *out)
{
	char path[64];
	char *text;
	char *open;
	char *close;
	long parent;
	bool ok;

	if (!isdigit((unsigned char)pid[0]))
		return false;
	(void)snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
	text = read_file(path);
	open = strchr(text, '(');
	close = strrchr(text, ')');
	ok = open && close && sscanf(close + 1, " %c %ld", &out->state, &parent) == 2;
	if (ok) {
		out->pid = (pid_t)atol(pid);
		out->parent = (pid_t)parent;
		(void)snprintf(
			out->name, sizeof out->name, "%.*s", (int)(close - open - 1), open + 1);
	}
	free(text);
	return ok && out->state != 'Z';
}

pid_t harness_child_named(pid_t parent, const char *name)
{
	DIR *proc = opendir("/proc");
	const struct dirent *entry;
	pid_t found = 0;

	while (proc && !found && (entry = readdir(proc))) {
		struct person who;

		if (read_person(entry->d_name, &who) && who.parent == parent &&
			strcmp(who.name, name) == 0)
			found = who.pid;
	}
	if (proc)
		closedir(proc);
	return found;
}

unsigned harness_children(pid_t pid)
{
	DIR *proc = opendir("/proc");
	const struct dirent *entry;
	unsigned n = 0;

	while (proc && (entry = readdir(proc))) {
		struct person who;

		n += read_person(entry->d_name, &who) && who.parent == pid;
	}
	if (proc)
		closedir(proc);
	return n;
}

unsigned harness_working_in(const char *folder)
{
	DIR *proc = opendir("/proc");
	const struct dirent *entry;
	size_t size = strlen(folder);
	unsigned n = 0;

	while (proc && (entry = readdir(proc))) {
		struct person who;
		char link[64];
		char path[PATH_MAX] = "";

		if (!read_person(entry->d_name, &who) || who.pid == getpid())
			continue;
		(void)snprintf(link, sizeof link, "/proc/%d/cwd", (int)who.pid);
		if (readlink(link, path, sizeof path - 1) > 0 && strncmp(path, folder, size) == 0)
			n += path[size] == '\0' || path[size] == '/' || path[size] == ' ';
	}
	if (proc)
		closedir(proc);
	return n;
}

/* ---- ports ----------------------------------------------------------------------- */

#define FIRST_PORT 10000
#define PORTS      10000 /* below those that the kernel gives out for connections */

/* Another test program could find it free as well, before ours has it. A name in the abstract namespace
 * belongs to one, and to nobody when that one ends. */
static bool reserve(unsigned port)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "pirn-test-port-%u", port);
	if (fd >= 0 && bind(fd, (struct sockaddr *)&name, sizeof name) == 0)
		return true; /* kept until this program ends */
	if (fd >= 0)
		close(fd);
	return false;
}

static bool is_free(unsigned port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr = { htonl(INADDR_LOOPBACK) } };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool is = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0;

	if (fd >= 0)
		close(fd);
	return is;
}

unsigned harness_free_port(void)
{
	unsigned from = (unsigned)getpid() * 7;

	for (unsigned i = 0; i < PORTS; i++) {
		unsigned port = FIRST_PORT + (from + i) % PORTS;

		if (reserve(port) && is_free(port))
			return port;
	}
	die("no free port");
}
