/* Small work on text that several parsers share: UTF-8, quoting somebody else's
 * bytes in a message for people, and "did you mean". Nothing here allocates.
 */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The length of the UTF-8 sequence that text begins with (1 to 4) and its code point, or 0 when it
 * is broken, cut short, overlong, a surrogate or beyond U+10FFFF. size > 0. UNTRUSTED bytes. */
size_t base_text_utf8(const void *text, size_t size, uint32_t *code);
bool base_text_is_utf8(const void *text, size_t size);

/* A code point that a terminal or a log reader would act on instead of showing it: C0, DEL, C1,
 * line and paragraph separators, the controls of writing direction. */
bool base_text_is_control(uint32_t code);

#define BASE_TEXT_QUOTED 96 /* room that is enough for every quotation */

/* Writes "text" with quotes into out, NUL-terminated: controls and broken bytes escaped, cut after
 * some 60 characters (then … follows the quote). room of BASE_TEXT_QUOTED or more. */
void base_text_quote(char *out, size_t room, const char *text, size_t size);

/* The same for a name or a word: without quotes when it reads well without them. Returns where in out
 * it begins. */
const char *base_text_word(char *out, size_t room, const char *word);

/* Looks for the candidate that a mistyped word was meant to be:
 *
 *   struct base_text_guess guess = { .word = word };
 *   base_text_offer(&guess, each candidate);
 *   if (guess.best) …
 */
struct base_text_guess {
	const char *word; /* UNTRUSTED */
	const char *best; /* NULL: nothing is near */
	unsigned distance;
};

void base_text_offer(struct base_text_guess *guess, const char *candidate);

#endif
