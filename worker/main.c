#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "worker/crash.h"
#include "worker/worker.h"

/* base_conf moves operands about: starting anew needs the words as they were. */
static char **copy_words(int argc, char **argv)
{
	char **copy = calloc((size_t)argc + 1, sizeof *copy);

	if (copy)
		memcpy(copy, argv, (size_t)argc * sizeof *copy);
	return copy;
}

/* jansson reads and writes through what it did not get. */
static void *json_memory(size_t size)
{
	void *block = malloc(size);

	if (!block)
		base_no_memory("JSON");
	return block;
}

int main(int argc, char **argv)
{
	struct wrk_settings settings = { 0 };
	enum wrk_exit code = WRK_EXIT_FAILED;
	char **words = copy_words(argc, argv);
	enum base_conf_outcome outcome =
		base_conf_read(&wrk_settings_program, &settings, argc, argv, NULL);

	json_set_alloc_funcs(json_memory, free);
	if (outcome == BASE_CONF_WRONG) {
		code = WRK_EXIT_USAGE;
	} else if (outcome == BASE_CONF_DONE) {
		code = WRK_EXIT_OK;
	} else if (words && wrk_settings_complete(&settings) == BASE_OK) {
		wrk_crash_watch();
		code = wrk_worker_run(&settings, words);
	}
	base_conf_free(&wrk_settings_program, &settings);
	free(words);
	return (int)code;
}
