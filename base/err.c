#include "base/err.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static const struct {
	const char *name;
	const char *text;
	enum base_err_class class;
} errors[BASE_ERR__N] = {
#define X(name, class, text) [BASE_##name] = { #name, text, BASE_CLASS_##class },
	BASE_ERRORS(X)
#undef X
};

/* A code from nowhere is a bug of ours, and is told as one. */
static enum base_err known(enum base_err err)
{
	return (unsigned)err < BASE_ERR__N ? err : BASE_BUG;
}

const char *base_err_name(enum base_err err)
{
	return errors[known(err)].name;
}

const char *base_err_text(enum base_err err)
{
	return errors[known(err)].text;
}

enum base_err_class base_err_class(enum base_err err)
{
	return errors[known(err)].class;
}

/* clang-format off */
static const struct {
	int errnum;
	enum base_err err;
} errnos[] = {
	{ 0, BASE_OK },
	{ ENOMEM, BASE_NOMEM },
	{ ENOSPC, BASE_FULL },
	{ EDQUOT, BASE_FULL },
	{ EMFILE, BASE_FULL },
	{ ENFILE, BASE_FULL },
	{ ENOBUFS, BASE_FULL },
	{ ETIMEDOUT, BASE_TIMEOUT },
	{ EPIPE, BASE_GONE },
	{ ECONNRESET, BASE_GONE },
	{ ECONNABORTED, BASE_GONE },
	{ ENOTCONN, BASE_GONE },
	{ ESRCH, BASE_GONE },
	{ ECHILD, BASE_GONE },
	{ EAGAIN, BASE_UNAVAILABLE },
	{ EBUSY, BASE_UNAVAILABLE },
	{ EINTR, BASE_UNAVAILABLE },
	{ EINPROGRESS, BASE_UNAVAILABLE },
	{ ECONNREFUSED, BASE_UNAVAILABLE },
	{ EHOSTUNREACH, BASE_UNAVAILABLE },
	{ EHOSTDOWN, BASE_UNAVAILABLE },
	{ ENETUNREACH, BASE_UNAVAILABLE },
	{ ENETDOWN, BASE_UNAVAILABLE },
	{ EINVAL, BASE_INVALID },
	{ EILSEQ, BASE_INVALID },
	{ EISDIR, BASE_INVALID },
	{ ENOTDIR, BASE_INVALID },
	{ ELOOP, BASE_INVALID },
	{ ERANGE, BASE_RANGE },
	{ EDOM, BASE_RANGE },
	{ EOVERFLOW, BASE_OVERFLOW },
	{ ENOENT, BASE_NOT_FOUND },
	{ EADDRNOTAVAIL, BASE_NOT_FOUND },
	{ EEXIST, BASE_EXISTS },
	{ EADDRINUSE, BASE_EXISTS },
	{ E2BIG, BASE_TOO_LARGE },
	{ EFBIG, BASE_TOO_LARGE },
	{ EMSGSIZE, BASE_TOO_LARGE },
	{ ENAMETOOLONG, BASE_TOO_LARGE },
	{ EPROTO, BASE_PROTOCOL },
	{ EPROTONOSUPPORT, BASE_PROTOCOL },
	{ EACCES, BASE_DENIED },
	{ EPERM, BASE_DENIED },
	{ EROFS, BASE_DENIED },
	{ ECANCELED, BASE_CANCELLED },
	{ EBADF, BASE_BUG },
	{ EFAULT, BASE_BUG },
};
/* clang-format on */

enum base_err base_err_from_errno(int errnum)
{
	for (size_t i = 0; i < sizeof errnos / sizeof errnos[0]; i++)
		if (errnos[i].errnum == errnum)
			return errnos[i].err;
	return BASE_IO;
}

_Noreturn void base_no_memory(const char *what)
{
	static const char text[] = "out of memory: ";
	struct iovec parts[] = { { (char *)(uintptr_t)text, sizeof text - 1 },
		{ (char *)(uintptr_t)what, strlen(what) }, { (char *)(uintptr_t) "\n", 1 } };
	ssize_t said = writev(STDERR_FILENO, parts, 3);

	(void)said;
	abort();
}
