/* A command line in the making: words, owned, NULL-terminated for exec. Memory that
 * runs out is kept as a sticky error.
 */
#ifndef CLI_WORDS_H
#define CLI_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct cli_words {
	char **items; /* items[n] is NULL; NULL while there is none */
	size_t n, room;
	bool failed;
};

void cli_words_init(struct cli_words *w);
void cli_words_fini(struct cli_words *w);
void cli_words_add(struct cli_words *w, const char *word);
void cli_words_split(struct cli_words *w, const char *text); /* at blanks, as make's variables are */
/* The words of an environment variable; of standard when it is not set or empty. */
void cli_words_env(struct cli_words *w, const char *variable, const char *standard);
void cli_words_print(const struct cli_words *w, FILE *out);

#endif
