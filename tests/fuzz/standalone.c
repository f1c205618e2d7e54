/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Runs a fuzz target over files, without libFuzzer: what was once found must
 * never come back, with any compiler.  Arguments are files and folders (not
 * their sub-folders).  An empty input is always tried first.  The name of an
 * input is printed before it runs, so that a crash names it.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned int input_count;

static int run_file(const char *path)
{
	struct stat st;
	uint8_t *data;
	size_t size;
	FILE *f;

	f = fopen(path, "rb");
	if (!f || fstat(fileno(f), &st) < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	/* Exactly as large as the input: a read past its end is seen. */
	size = (size_t)st.st_size;
	data = malloc(size ? size : 1);
	if (!data || fread(data, 1, size, f) != size) {
		fprintf(stderr, "%s: cannot be read\n", path);
		return -1;
	}
	fclose(f);
	printf("# %s\n", path);
	fflush(stdout);
	LLVMFuzzerTestOneInput(data, size);
	free(data);
	input_count++;
	return 0;
}

static int run_path(const char *path)
{
	struct dirent **list = NULL;
	struct stat st;
	int i, n, r = 0;

	if (stat(path, &st) < 0)
		return errno == ENOENT ? 0 : -1; /* no corpus yet */
	if (!S_ISDIR(st.st_mode))
		return run_file(path);
	n = scandir(path, &list, NULL, alphasort);
	for (i = 0; i < n; i++) {
		char *file = NULL;

		if (list[i]->d_name[0] != '.') {
			if (asprintf(&file, "%s/%s", path, list[i]->d_name) <
				    0 ||
			    run_file(file) < 0)
				r = -1;
			free(file);
		}
		free(list[i]);
	}
	free(list);
	return n < 0 ? -1 : r;
}

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');
	const char *name = slash ? slash + 1 : argv[0];
	uint8_t none = 0;
	int i, r = 0;

	LLVMFuzzerTestOneInput(&none, 0);
	input_count++;
	for (i = 1; i < argc; i++)
		if (run_path(argv[i]) < 0)
			r = -1;
	printf("%s %s over %u inputs\n", r < 0 ? "not ok" : "ok", name,
	       input_count);
	return r < 0;
}
