#include "cli/words.h"

#include <stdlib.h>
#include <string.h>

#define BLANKS " \t\r\n"

void cli_words_init(struct cli_words *w)
{
	*w = (struct cli_words){ 0 };
}

void cli_words_fini(struct cli_words *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->items[i]);
	free(w->items);
}

static void add(struct cli_words *w, const char *word, size_t size)
{
	char *copy = w->failed ? NULL : strndup(word, size);

	if (copy && w->n + 2 > w->room) {
		size_t room = w->room ? 2 * w->room : 32;
		char **items = realloc(w->items, room * sizeof *items);

		if (!items) {
			free(copy);
			copy = NULL;
		} else {
			w->items = items;
			w->room = room;
		}
	}
	if (!copy) {
		w->failed = true;
		return;
	}
	w->items[w->n++] = copy;
	w->items[w->n] = NULL;
}

void cli_words_add(struct cli_words *w, const char *word)
{
	add(w, word, strlen(word));
}

void cli_words_split(struct cli_words *w, const char *text)
{
	for (text += strspn(text, BLANKS); *text; text += strspn(text, BLANKS)) {
		size_t size = strcspn(text, BLANKS);

		add(w, text, size);
		text += size;
	}
}

void cli_words_env(struct cli_words *w, const char *variable, const char *standard)
{
	const char *value = getenv(variable);

	cli_words_split(w, value && *value ? value : standard);
}

void cli_words_print(const struct cli_words *w, FILE *out)
{
	for (size_t i = 0; i < w->n; i++)
		fprintf(out, "%s%s", i ? " " : "", w->items[i]);
	fputc('\n', out);
}
