/* uthash, with a hash function that has no switch to fall through: clang's
 * warnings look into system headers' macros. Keys here are short, so nothing is
 * lost by hashing byte by byte.
 */
#ifndef NET_HASH_H
#define NET_HASH_H

#ifndef HASH_FUNCTION
#define HASH_FUNCTION(key, size, hash) HASH_SAX(key, size, hash)
#endif
#include <uthash.h>

#endif
