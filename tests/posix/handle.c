/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Handles of files, as an NFS server uses them:
 *
 *   handle FILE            print its handle
 *   handle MOUNT HANDLE    print what the file has that it stands for
 */
#include "posix.h"

union room {
	struct file_handle handle;
	unsigned char bytes[sizeof(struct file_handle) + MAX_HANDLE_SZ];
};

static int print_handle(const char *path)
{
	union room r;
	int mount_id;

	memset(&r, 0, sizeof(r));
	r.handle.handle_bytes = MAX_HANDLE_SZ;
	if (name_to_handle_at(AT_FDCWD, path, &r.handle, &mount_id, 0) < 0) {
		perror(path);
		return 1;
	}
	printf("%d:", r.handle.handle_type);
	for (unsigned int i = 0; i < r.handle.handle_bytes; i++)
		printf("%02x", r.handle.f_handle[i]);
	putchar('\n');
	return 0;
}

static int open_handle(const char *mount, const char *text)
{
	int fd = open(mount, O_RDONLY | O_DIRECTORY), file;
	char buf[4096], *end, *path;
	union room r;
	struct stat st;
	ssize_t n;

	memset(&r, 0, sizeof(r));
	r.handle.handle_type = (int)strtol(text, &end, 10);
	for (end++; end[0] && end[1]; end += 2) {
		char two[3] = { end[0], end[1], '\0' };

		r.handle.f_handle[r.handle.handle_bytes++] =
			(unsigned char)strtoul(two, NULL, 16);
	}
	file = open_by_handle_at(fd, &r.handle, O_RDONLY);
	if (file < 0) {
		perror(mount);
		return 1;
	}
	/* Of a directory: where it stands. */
	if (fstat(file, &st) == 0 && S_ISDIR(st.st_mode)) {
		(void)snprintf(buf, sizeof(buf), "/proc/self/fd/%d", file);
		path = realpath(buf, NULL);
		printf("%s\n", path ? path : strerror(errno));
		free(path);
		return 0;
	}
	while ((n = read(file, buf, sizeof(buf))) > 0)
		(void)!fwrite(buf, 1, (size_t)n, stdout);
	return n < 0;
}

int main(int argc, char **argv)
{
	if (argc == 2)
		return print_handle(argv[1]);
	if (argc == 3)
		return open_handle(argv[1], argv[2]);
	fprintf(stderr, "usage: handle FILE | handle MOUNT HANDLE\n");
	return 2;
}
