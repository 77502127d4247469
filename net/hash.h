/* uthash, with a hash function that has no switch to fall through: clang's
 * warnings look into system headers' macros. Keys here are short, so nothing is
 * lost by hashing byte by byte. Where there is no memory for one more element, it
 * stays outside and its hh.tbl is NULL: look after each HASH_ADD.
 */
#ifndef NET_HASH_H
#define NET_HASH_H

#ifndef HASH_FUNCTION
#define HASH_FUNCTION(key, size, hash) HASH_SAX(key, size, hash)
#endif
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#endif
