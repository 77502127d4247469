/* The one error type. Every fallible function of Pirn returns enum base_err (or
 * a bool when its name is a sentence, or a value when it cannot fail). Retry
 * logic looks at the class, never at single codes.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#define BASE_MUSTUSE __attribute__((warn_unused_result))

enum base_err_class {
	BASE_CLASS_NONE,
	BASE_CLASS_RETRY,     /* the same call may succeed later */
	BASE_CLASS_PERMANENT, /* it will not; the caller's input or set-up is wrong */
	BASE_CLASS_BUG,       /* ours */
};

/* name, class, text for people */
#define BASE_ERRORS(X) \
	X(OK, NONE, "no error") \
	X(NOMEM, RETRY, "out of memory") \
	X(FULL, RETRY, "a bound is reached") \
	X(TIMEOUT, RETRY, "timed out") \
	X(GONE, RETRY, "the peer is gone") \
	X(UNAVAILABLE, RETRY, "not available now") \
	X(IO, RETRY, "input/output error") \
	X(INVALID, PERMANENT, "invalid value") \
	X(RANGE, PERMANENT, "out of range") \
	X(OVERFLOW, PERMANENT, "the result would overflow") \
	X(MISMATCH, PERMANENT, "the stored value is another one") \
	X(TYPE, PERMANENT, "the stored value is of another type") \
	X(NOT_FOUND, PERMANENT, "not found") \
	X(EXISTS, PERMANENT, "exists already") \
	X(TOO_LARGE, PERMANENT, "too large") \
	X(PROTOCOL, PERMANENT, "the peer broke the protocol") \
	X(CONFIG, PERMANENT, "wrong configuration") \
	X(DENIED, PERMANENT, "refused") \
	X(CANCELLED, PERMANENT, "cancelled") \
	X(BUG, BUG, "a bug in Pirn")

enum base_err {
#define X(name, class, text) BASE_##name,
	BASE_ERRORS(X)
#undef X
	BASE_ERR__N
};

const char *base_err_name(enum base_err err);  /* "NOMEM"; never NULL */
const char *base_err_text(enum base_err err);  /* "out of memory"; never NULL */
enum base_err_class base_err_class(enum base_err err);

/* errno at the boundary to the system: ENOENT is NOT_FOUND, ENOMEM is NOMEM, … ; the rest is IO. */
enum base_err base_err_from_errno(int errnum);

/* The end where memory is out and going on would break a promise: one line on stderr that says what there
 * was no memory for, then abort(). A supervisor starts the process again, and others take over what it had:
 * as after a crash. Allocates nothing. */
void base_no_memory(const char *what) __attribute__((noreturn)); /* _Noreturn is nothing to cppcheck 2.10 */

#endif
