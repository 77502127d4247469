/* pirn new NAME: a service to begin with. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/manifest.h"
#include "cli/cli.h"
#include "cli/layout.h"
#include "cli/template.h"

struct settings {
	char *dir, *http;
};

static bool write_file(
	const char *folder, const char *name, const char *suffix, const struct base_buf *text)
{
	char path[PATH_MAX];
	FILE *file;
	bool ok;

	(void)snprintf(path, sizeof path, "%s/%s%s", folder, name, suffix);
	file = base_buf_check(text) == BASE_OK ? fopen(path, "wxe") : NULL;
	if (!file) {
		cli_complain("%s: %s", path, strerror(errno));
		return false;
	}
	ok = fwrite(text->data, 1, text->size, file) == text->size;
	if (fclose(file) != 0 || !ok) {
		cli_complain("%s: %s", path, strerror(errno));
		return false;
	}
	return true;
}

static bool write_endpoint(const char *folder, const char *name, const char *url)
{
	struct base_buf manifest;
	bool ok;

	base_buf_init(&manifest);
	cli_template_endpoint(name, url, &manifest);
	ok = write_file(folder, "service", ".yaml", &manifest);
	base_buf_fini(&manifest);
	return ok;
}

static bool write_service(const char *folder, const char *name)
{
	struct base_buf manifest;
	struct base_buf source;
	bool ok;

	base_buf_init(&manifest);
	base_buf_init(&source);
	cli_template_manifest(name, &manifest);
	cli_template_source(name, &source);
	ok = write_file(folder, name, ".c", &source) &&
	     write_file(folder, "service", ".yaml", &manifest);
	base_buf_fini(&manifest);
	base_buf_fini(&source);
	return ok;
}

/* In Pirn's own tree `make` builds all of services/; anywhere else `pirn build` does. */
static bool is_own_tree(const char *dir)
{
	char include[PATH_MAX];
	char tree[PATH_MAX];
	char real[PATH_MAX];

	if (strcmp(dir, "services") != 0 || cli_layout_include(include, sizeof include) != BASE_OK)
		return false;
	(void)snprintf(
		tree, sizeof tree, "%.*s", (int)(strlen(include) - strlen("/include")), include);
	return getcwd(real, sizeof real) && strcmp(real, tree) == 0 &&
	       access("Makefile", R_OK) == 0;
}

static void tell_what_next(const char *dir, const char *name, bool native)
{
	printf("%s/%s/service.yaml\n", dir, name);
	if (native)
		printf("%s/%s/%s.c\n", dir, name, name);
	printf("\nNext:\n\n");
	if (is_own_tree(dir)) {
		printf("  make                # running workers announce it within a second\n");
	} else {
		if (strcmp(dir, "services") == 0)
			printf("  pirn build %s\n", name);
		else
			printf("  pirn build %s/%s\n", dir, name);
		printf("  pirn up --services build/services\n");
	}
	if (!native) { /* an address of one's own is the likely one */
		printf("  # not at a public address? Name its host: PIRN_HTTP_ALLOW=app:3000 pirn up ...\n");
	}
	printf("  curl 'http://127.0.0.1:8080/%s?name=World'\n", name);
}

static bool is_endpoint(const char *url)
{
	const char *fault = base_manifest_is_url(url)
				    ? base_manifest_url_fault(url)
				    : "a URL that begins with http:// or https://";

	if (fault)
		cli_complain("--http %s: expected %s", url, fault);
	return !fault;
}

static int run(const void *settings, int n_operands, char **operands)
{
	const struct settings *s = settings;
	const char *name = operands[0];
	char folder[PATH_MAX];
	enum base_err err;

	(void)n_operands;
	if (s->http && !is_endpoint(s->http))
		return CLI_USAGE;
	if (!base_manifest_is_service(name)) {
		cli_complain(
			"\"%s\" cannot be a service's name: a-z, 0-9 and -, beginning with a letter, %d at most",
			name, BASE_MANIFEST_NAME_MAX);
		return CLI_USAGE;
	}
	err = cli_layout_mkdirs(s->dir);
	if (err) {
		cli_complain("%s: %s", s->dir, base_err_text(err));
		return CLI_FAILED;
	}
	(void)snprintf(folder, sizeof folder, "%s/%s", s->dir, name);
	if (mkdir(folder, 0777) != 0) {
		cli_complain("%s: %s", folder,
			errno == EEXIST ? "is there already; nothing was changed"
					: strerror(errno));
		return CLI_FAILED;
	}
	if (s->http ? !write_endpoint(folder, name, s->http) : !write_service(folder, name))
		return CLI_FAILED;
	tell_what_next(s->dir, name, !s->http);
	return CLI_OK;
}

static const struct base_conf_row rows[] = {
	{ "dir", BASE_CONF_STR, offsetof(struct settings, dir), "services", 0, 0, NULL,
		"where to make its folder" },
	{ "http", BASE_CONF_STR, offsetof(struct settings, http), NULL, 0, 0, NULL,
		"make a service that is an HTTP endpoint: its URL, such as http://app:3000/hook" },
	{ 0 },
};

const struct cli_command cli_new = {
	.program = {
		.name = "pirn new",
		.synopsis = "NAME [--dir DIR] [--http URL]",
		.about = "Makes a service to begin with: a folder with service.yaml and a C file that answers\n"
			 "GET /NAME; with --http URL, a service.yaml for that endpoint. Overwrites nothing." CLI_EXIT_HELP,
		.rows = rows,
		.operands = true,
	},
	.summary = "make a new service",
	.settings_size = sizeof(struct settings),
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
