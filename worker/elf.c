#include "worker/elf.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_ours(const ElfW(Ehdr) * head)
{
	unsigned char class = sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32;
	unsigned char order = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB;

	return memcmp(head->e_ident, ELFMAG, SELFMAG) == 0 && head->e_ident[EI_CLASS] == class &&
	       head->e_ident[EI_DATA] == order && head->e_type == ET_DYN;
}

static bool lies_within(uint64_t from, uint64_t bytes, size_t size)
{
	return from <= size && bytes <= size - from;
}

static bool segments_lie_within(const unsigned char *data, size_t size, const ElfW(Ehdr) * head)
{
	ElfW(Phdr) segment;

	for (unsigned i = 0; i < head->e_phnum; i++) {
		memcpy(&segment, data + head->e_phoff + i * sizeof segment, sizeof segment);
		if (!lies_within(segment.p_offset, segment.p_filesz, size))
			return false;
	}
	return true;
}

enum base_err wrk_elf_check_bytes(const void *data, size_t size, char *why, size_t why_room)
{
	ElfW(Ehdr) head;

	if (size < sizeof head || (memcpy(&head, data, sizeof head), !is_ours(&head))) {
		snprintf(why, why_room, "not a shared object for this machine");
		return BASE_TYPE;
	}
	if (head.e_phentsize == sizeof(ElfW(Phdr)) &&
		lies_within(head.e_phoff, (uint64_t)head.e_phnum * head.e_phentsize, size) &&
		lies_within(head.e_shoff, (uint64_t)head.e_shnum * head.e_shentsize, size) &&
		segments_lie_within(data, size, &head))
		return BASE_OK;
	snprintf(why, why_room, "a shared object that is cut short");
	return BASE_TOO_LARGE;
}

enum base_err wrk_elf_check(const char *path, char *why, size_t why_room)
{
	enum base_err err = BASE_OK;
	void *data = MAP_FAILED;
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) != 0 ||
		(st.st_size > 0 && (data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE,
					    fd, 0)) == MAP_FAILED)) {
		err = base_err_from_errno(errno);
		snprintf(why, why_room, "%s", strerror(errno));
	} else if (st.st_size == 0) {
		snprintf(why, why_room, "an empty file");
		err = BASE_TYPE;
	} else {
		err = wrk_elf_check_bytes(data, (size_t)st.st_size, why, why_room);
	}
	if (data != MAP_FAILED)
		munmap(data, (size_t)st.st_size);
	if (fd >= 0)
		close(fd);
	return err;
}
