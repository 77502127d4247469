/* Looks at a shared object before the dynamic linker does: dlopen maps a file
 * that is cut short without a word, and the process dies of SIGBUS at the first
 * touch of what is missing.
 */
#ifndef WRK_ELF_H
#define WRK_ELF_H

#include <stddef.h>

#include "base/err.h"

/* OK: an ELF shared object of this machine's class and byte order, whose segments and section headers
 * (which linkers write last) lie within the file. UNTRUSTED. On an error why says what it is instead:
 * NOT_FOUND and others as from open, TYPE (not a shared object of this machine), TOO_LARGE (reaches
 * beyond the end of the file). */
BASE_MUSTUSE enum base_err wrk_elf_check(const char *path, char *why, size_t why_room);

/* The same for the bytes of a file. */
BASE_MUSTUSE enum base_err wrk_elf_check_bytes(
	const void *data, size_t size, char *why, size_t why_room);

#endif
