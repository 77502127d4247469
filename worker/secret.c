#include "worker/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECRET_MAX 65536u

const char *wrk_secret_path(const char *folder, const char *file, char out[PATH_MAX])
{
	if (file[0] == '/')
		(void)snprintf(out, PATH_MAX, "%s", file);
	else
		(void)snprintf(out, PATH_MAX, "%s/%s", folder, file);
	return out;
}

enum base_err wrk_secret_read(const char *path, char **out)
{
	char *text = malloc(SECRET_MAX + 1);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t size = 0;
	ssize_t n = -1;

	while (text && fd >= 0 && size <= SECRET_MAX &&
		(n = read(fd, text + size, SECRET_MAX + 1 - size)) > 0)
		size += (size_t)n;
	if (fd >= 0)
		close(fd);
	if (!text || fd < 0 || n < 0 || size > SECRET_MAX) {
		enum base_err err = !text               ? BASE_NOMEM
				    : size > SECRET_MAX ? BASE_TOO_LARGE
							: base_err_from_errno(errno);

		if (text)
			explicit_bzero(text, size);
		free(text);
		return err;
	}
	if (size > 0 && text[size - 1] == '\n')
		size--;
	text[size] = '\0';
	*out = text;
	return BASE_OK;
}

void wrk_secret_free(char **secret)
{
	if (*secret)
		explicit_bzero(*secret, strlen(*secret));
	free(*secret);
	*secret = NULL;
}
