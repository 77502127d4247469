/* pirn build DIR: compiles a service against the Pirn that this program belongs to.
 *
 * The compiler is $CC (cc), with $CPPFLAGS, $CFLAGS, $LDFLAGS and $LDLIBS behind our
 * flags, as make has it. A service may use jansson without asking, as in Pirn's own
 * tree: it is linked when it is installed.
 *
 * Workers watch the folder that this writes to, so each file appears whole (written
 * beside, then renamed), and the manifest, which names the other, last. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/layout.h"
#include "cli/services_in.h"
#include "cli/words.h"

#define FILE_MAX (PATH_MAX + 320) /* of a file in a folder of PATH_MAX */

struct settings {
	char *out, *include;
	bool verbose;
};

struct job {
	const struct settings *settings;
	const char *folder;
	struct base_manifest *manifest;
	char include[PATH_MAX];
	char out[PATH_MAX];      /* folder that is written to */
	char target[FILE_MAX];   /* out/handler */
	char part[FILE_MAX + 8]; /* the same until it is whole */
};

static bool find_include(struct job *j)
{
	char probe[PATH_MAX + 32];

	if (!j->settings->include) {
		if (cli_layout_include(j->include, sizeof j->include) == BASE_OK)
			return true;
		cli_complain(
			"pirn/service.h is not where this program belongs; say where with --include DIR");
		return false;
	}
	(void)snprintf(j->include, sizeof j->include, "%s", j->settings->include);
	(void)snprintf(probe, sizeof probe, "%s/pirn/service.h", j->include);
	if (access(probe, R_OK) == 0)
		return true;
	cli_complain("%s: %s", probe, strerror(errno));
	return false;
}

static int is_source(const struct dirent *entry)
{
	size_t size = strlen(entry->d_name);

	return entry->d_name[0] != '.' && size > 2 && strcmp(entry->d_name + size - 2, ".c") == 0;
}

static bool add_sources(struct cli_words *words, const char *folder)
{
	struct dirent **list = NULL;
	int n = scandir(folder, &list, is_source, alphasort);

	for (int i = 0; i < n; i++) {
		char path[FILE_MAX];

		(void)snprintf(path, sizeof path, "%s/%s", folder, list[i]->d_name);
		cli_words_add(words, path);
		free(list[i]);
	}
	free(list);
	if (n <= 0)
		cli_complain("%s: %s", folder, n < 0 ? strerror(errno) : "there is no .c file");
	return n > 0;
}

/* Libraries that Pirn's own services are linked with, when they are there. */
static void add_libraries(struct cli_words *words)
{
	const char *tool = getenv("PKG_CONFIG");
	char command[512];
	char line[512] = "";
	FILE *pipe;

	(void)snprintf(command, sizeof command, "%s --libs jansson 2>/dev/null",
		tool && *tool ? tool : "pkg-config");
	pipe = popen(command, "re");
	if (pipe && fgets(line, sizeof line, pipe))
		cli_words_split(words, line);
	if (pipe)
		pclose(pipe);
	cli_words_add(words, "-lm");
}

static bool command_line(const struct job *j, struct cli_words *words)
{
	static const char *const flags[] = { "-std=c17", "-D_GNU_SOURCE", "-fPIC", "-fno-common",
		"-O2", "-g", "-Wall", "-Wextra", NULL };

	cli_words_env(words, "CC", "cc");
	for (size_t i = 0; flags[i]; i++)
		cli_words_add(words, flags[i]);
	cli_words_add(words, "-I");
	cli_words_add(words, j->include);
	cli_words_env(words, "CPPFLAGS", "");
	cli_words_env(words, "CFLAGS", "");
	cli_words_add(words, "-shared");
	cli_words_add(words, "-Wl,--as-needed,-z,relro,-z,now");
	cli_words_env(words, "LDFLAGS", "");
	cli_words_add(words, "-o");
	cli_words_add(words, j->part);
	if (!add_sources(words, j->folder))
		return false;
	cli_words_env(words, "LDLIBS", "");
	add_libraries(words);
	return true;
}

/* Runs it in the foreground; its own messages go to the terminal. */
static bool execute(const struct cli_words *words)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		execvp(words->items[0], words->items);
		fprintf(stderr, "pirn build: %s: %s\n", words->items[0], strerror(errno));
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	if (pid < 0)
		cli_complain("%s", strerror(errno));
	else if (!WIFEXITED(status) || WEXITSTATUS(status) != 127)
		cli_complain("%s failed; nothing was changed", words->items[0]);
	return false;
}

static bool compile(const struct job *j)
{
	struct cli_words words;
	bool ok;

	cli_words_init(&words);
	ok = command_line(j, &words);
	if (ok && words.failed) {
		cli_complain("out of memory");
		ok = false;
	}
	if (ok && j->settings->verbose)
		cli_words_print(&words, stdout);
	ok = ok && execute(&words);
	cli_words_fini(&words);
	return ok;
}

static bool copy_file(const char *from, const char *to)
{
	char buffer[65536];
	FILE *in = fopen(from, "re");
	FILE *out = in ? fopen(to, "we") : NULL;
	size_t n = 0;
	bool ok = out != NULL;

	while (ok && (n = fread(buffer, 1, sizeof buffer, in)) > 0)
		ok = fwrite(buffer, 1, n, out) == n;
	if (ok)
		ok = !ferror(in);
	if (out && fclose(out) != 0)
		ok = false;
	if (in)
		fclose(in);
	return ok;
}

static bool install(const struct job *j)
{
	char from[FILE_MAX];
	char part[FILE_MAX];
	char to[FILE_MAX];

	(void)snprintf(from, sizeof from, "%s/service.yaml", j->folder);
	(void)snprintf(part, sizeof part, "%s/service.yaml.part", j->out);
	(void)snprintf(to, sizeof to, "%s/service.yaml", j->out);
	if (copy_file(from, part) && rename(j->part, j->target) == 0 && rename(part, to) == 0)
		return true;
	cli_complain("%s: %s", j->out, strerror(errno));
	return false;
}

static bool choose_out(struct job *j)
{
	const struct settings *s = j->settings;
	enum base_err err;
	int n;

	if (s->out)
		n = snprintf(j->out, sizeof j->out, "%s", s->out);
	else
		n = snprintf(j->out, sizeof j->out, "build/services/%s", j->manifest->service);
	err = n < 0 || (size_t)n >= sizeof j->out ? BASE_TOO_LARGE : cli_layout_mkdirs(j->out);
	if (err) {
		cli_complain("%s: %s", j->out, base_err_text(err));
		return false;
	}
	(void)snprintf(j->target, sizeof j->target, "%s/%s", j->out, j->manifest->handler);
	(void)snprintf(j->part, sizeof j->part, "%s.part", j->target);
	return true;
}

static bool is_compiled(const struct job *j)
{
	size_t size = strlen(j->manifest->handler);

	if (size > 3 && strcmp(j->manifest->handler + size - 3, ".so") == 0)
		return true;
	cli_complain("%s/service.yaml: handler: expected a file name that ends in .so, got \"%s\"",
		j->folder, j->manifest->handler);
	return false;
}

/* An endpoint is somebody else's program: its manifest is all there is to take along. */
static bool take_manifest(const struct job *j)
{
	char from[FILE_MAX];
	char part[FILE_MAX];
	char to[FILE_MAX];

	(void)snprintf(from, sizeof from, "%s/service.yaml", j->folder);
	(void)snprintf(part, sizeof part, "%s/service.yaml.part", j->out);
	(void)snprintf(to, sizeof to, "%s/service.yaml", j->out);
	if (copy_file(from, part) && rename(part, to) == 0) {
		printf("%s\n", to);
		return true;
	}
	cli_complain("%s: %s", j->out, strerror(errno));
	return false;
}

static bool build(struct job *j)
{
	if (base_manifest_is_url(j->manifest->handler))
		return choose_out(j) && take_manifest(j);
	if (!is_compiled(j) || !find_include(j) || !choose_out(j))
		return false;
	if (compile(j) && install(j)) {
		printf("%s\n", j->target);
		return true;
	}
	(void)unlink(j->part);
	return false;
}

/* A folder, or the name of one in services/, where `pirn new` makes them. */
static const char *find_folder(const char *word, char *room, size_t size)
{
	char probe[FILE_MAX];

	(void)snprintf(probe, sizeof probe, "%s/service.yaml", word);
	if (access(probe, F_OK) == 0 || strchr(word, '/'))
		return word;
	(void)snprintf(room, size, "services/%s", word);
	(void)snprintf(probe, sizeof probe, "%s/service.yaml", room);
	return access(probe, F_OK) == 0 ? room : word;
}

static int run(const void *settings, int n_operands, char **operands)
{
	char room[PATH_MAX];
	struct job j = { .settings = settings,
		.folder = find_folder(operands[0], room, sizeof room) };
	char why[1024];
	int status;

	(void)n_operands;
	if (cli_manifest_in(j.folder, &j.manifest, why, sizeof why) != BASE_OK) {
		cli_complain("%s", why);
		return CLI_FAILED;
	}
	status = build(&j) ? CLI_OK : CLI_FAILED;
	base_manifest_free(&j.manifest);
	return status;
}

static const struct base_conf_row rows[] = {
	{ "out", BASE_CONF_STR, offsetof(struct settings, out), NULL, 0, 0, NULL,
		"folder to write the manifest and the shared object to (default: build/services/NAME)" },
	{ "include", BASE_CONF_STR, offsetof(struct settings, include), NULL, 0, 0, NULL,
		"folder that holds pirn/service.h (default: where this program belongs)" },
	{ "verbose", BASE_CONF_BOOL, offsetof(struct settings, verbose), "no", 0, 0, NULL,
		"print the compiler's command line" },
	{ 0 },
};

const struct cli_command cli_build = {
	.program = {
		.name = "pirn build",
		.synopsis = "DIR|NAME [--out DIR]",
		.about = "Checks the manifest of the service in DIR, or in services/NAME, and compiles its .c files\n"
			 "to a shared object; of one that is an HTTP endpoint the manifest is all. CC, CPPFLAGS, CFLAGS, LDFLAGS and LDLIBS are heard.\n"
			 "`pirn up --services build/services` runs the result." CLI_EXIT_HELP,
		.rows = rows,
		.operands = true,
	},
	.summary = "compile a service",
	.settings_size = sizeof(struct settings),
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
