/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Reading directories while they change; many files at once. */
#include "posix.h"

#include <dirent.h>
#include <sys/resource.h>

#define MANY 3000
#define OPEN 10000

static char seen[MANY];

static void name(char *buf, const char *in, int i)
{
	(void)snprintf(buf, 64, "%s/file-%d", in, i);
}

/* Into seen; the number of entries but "." and "..". */
static int list(DIR *d)
{
	struct dirent *e;
	int count = 0, i;

	memset(seen, 0, sizeof(seen));
	while ((e = readdir(d))) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		count++;
		if (sscanf(e->d_name, "file-%d", &i) == 1 && i < MANY)
			seen[i]++;
	}
	return count;
}

static void test_all_once(void)
{
	char path[64];
	DIR *d;

	OK(mkdir("d", 0755));
	for (int i = 0; i < MANY; i++) {
		name(path, "d", i);
		OK(make(path, 0644));
	}
	d = opendir("d");
	IS(list(d) == MANY);
	for (int i = 0; i < MANY; i++)
		IS(seen[i] == 1);
	rewinddir(d);
	IS(list(d) == MANY);
	closedir(d);
}

static void test_types(void)
{
	struct dirent *e;
	struct stat st;
	int count = 0;
	DIR *d;

	OK(mkdir("dir", 0755));
	OK(make("reg", 0644));
	OK(symlink("x", "lnk"));
	OK(mkfifo("fifo", 0644));
	d = opendir(".");
	while ((e = readdir(d))) {
		OK(lstat(e->d_name, &st));
		IS(e->d_type == DT_UNKNOWN || e->d_type == IFTODT(st.st_mode));
		if (strcmp(e->d_name, "..") != 0)
			IS(e->d_ino == st.st_ino);
		count++;
	}
	IS(count == 6);
	closedir(d);
}

/* What is there all the time is seen once, whatever comes and goes. */
static void test_while_it_changes(void)
{
	int twice = 0, missed = 0, count = 0, i;
	struct dirent *e;
	char path[64];
	DIR *d;

	OK(mkdir("d", 0755));
	for (i = 0; i < MANY; i++) {
		name(path, "d", i);
		OK(make(path, 0644));
	}
	memset(seen, 0, sizeof(seen));
	d = opendir("d");
	while ((e = readdir(d))) {
		if (sscanf(e->d_name, "file-%d", &i) != 1)
			continue;
		seen[i]++;
		if (++count % 3)
			continue;
		/* Odd ones go, others come. */
		(void)snprintf(path, sizeof(path), "d/file-%d",
			       (i * 7 | 1) % MANY);
		(void)unlink(path);
		(void)snprintf(path, sizeof(path), "d/new-%d", count);
		OK(make(path, 0644));
	}
	for (i = 0; i < MANY; i += 2) {
		missed += seen[i] == 0;
		twice += seen[i] > 1;
	}
	IS(missed == 0);
	IS(twice == 0);
	closedir(d);
}

static void test_seek(void)
{
	char first[300];
	struct dirent *e;
	char path[64];
	long at;
	DIR *d;

	OK(mkdir("d", 0755));
	for (int i = 0; i < 500; i++) {
		name(path, "d", i);
		OK(make(path, 0644));
	}
	d = opendir("d");
	for (int i = 0; i < 250; i++)
		IS(readdir(d) != NULL);
	at = telldir(d);
	e = readdir(d);
	IS(e != NULL);
	if (!e)
		return;
	(void)snprintf(first, sizeof(first), "%s", e->d_name);
	for (int i = 0; i < 100; i++)
		IS(readdir(d) != NULL);
	seekdir(d, at);
	e = readdir(d);
	IS(e && strcmp(e->d_name, first) == 0);
	closedir(d);
}

static void test_remove_while_read(void)
{
	struct dirent *e;
	char path[400];
	DIR *d;

	OK(mkdir("d", 0755));
	for (int i = 0; i < MANY; i++) {
		name(path, "d", i);
		OK(make(path, 0644));
	}
	d = opendir("d");
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		(void)snprintf(path, sizeof(path), "d/%s", e->d_name);
		OK(unlink(path));
	}
	closedir(d);
	OK(rmdir("d"));
}

static void test_many_open(void)
{
	struct rlimit limit = { OPEN + 100, OPEN + 100 };
	static int fds[OPEN];
	char path[64];
	int bad = 0;
	char c;

	if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
		IS(getuid() != 0);
		return;
	}
	OK(mkdir("d", 0755));
	for (int i = 0; i < OPEN; i++) {
		name(path, "d", i);
		fds[i] = open(path, O_CREAT | O_EXCL | O_RDWR, 0644);
		bad += fds[i] < 0 ||
		       pwrite(fds[i], "abcdefgh" + i % 8, 1, 0) != 1;
	}
	IS(bad == 0);
	for (int i = 0; i < OPEN; i++) {
		bad += pread(fds[i], &c, 1, 0) != 1 || c != "abcdefgh"[i % 8];
		close(fds[i]);
	}
	IS(bad == 0);
}

static void test_deep(void)
{
	int depth;

	for (depth = 0; depth < 200; depth++)
		if (mkdir("deeper", 0755) < 0 || chdir("deeper") < 0)
			break;
	IS(depth == 200);
	OK(make("f", 0644));
	for (; depth > 0; depth--)
		OK(chdir(".."));
	IS(exists("deeper/deeper/deeper"));
}

static const struct posix_test tests[] = {
	{ "each entry is listed once", test_all_once, false },
	{ "types and numbers", test_types, false },
	{ "listing what changes meanwhile", test_while_it_changes, false },
	{ "telldir and seekdir", test_seek, false },
	{ "removing what is listed", test_remove_while_read, false },
	{ "10,000 open files", test_many_open, false },
	{ "200 directories deep", test_deep, false },
};

int main(int argc, char **argv)
{
	return run_all("dirs", tests, COUNT_OF(tests), argc, argv);
}
