/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A directory tree, changed at random, and compared with what it must be:
 * names, types, link counts, content, modes.
 *
 *   tree DIR [SEED [STEPS [PROCESSES [DIR2]]]]
 *
 * Each process has a directory of its own, which it compares, and a common one,
 * in which all make, move and remove files of the same few names; there each
 * call may fail in the ways that are allowed when others do the same.  With
 * DIR2, the same directory by another mount, each call goes through one of
 * them.
 */
#include "posix.h"

#include <dirent.h>

#define NODES  120u
#define COMMON 12u

enum type { NONE, FILE_, DIR_, LINK };

/* A name in our directory, "nI"; what has the same content is one file. */
struct node {
	enum type type;
	uint32_t mode, length;
	uint64_t content; /* seed of it, and its identity */
};

static struct node nodes[NODES];
static uint64_t state, next_content;
static const char *tops[2];
static unsigned int ways = 1, way, self;
static unsigned long step;

static uint64_t mix(uint64_t *s)
{
	uint64_t x = *s += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static unsigned int below(unsigned int n)
{
	return (unsigned int)(mix(&state) % n);
}

static void bad(const char *what, const char *path)
{
	printf("# process %u, step %lu: %s: %s: %s\n", self, step, path, what,
	       strerror(errno));
	failures_here++;
}

static const char *path_of(unsigned int i)
{
	static char paths[4][PATH_MAX];
	static unsigned int which;
	char *path = paths[which++ % 4];

	(void)snprintf(path, PATH_MAX, "%s/own-%u/n%u", tops[way], self, i);
	return path;
}

static void fill(const struct node *n, char *buf)
{
	uint64_t s = n->content;

	for (uint32_t i = 0; i < n->length; i += 8) {
		uint64_t x = mix(&s);

		memcpy(buf + i, &x, 8);
	}
}

/* ---- our own directory --------------------------------------------------- */

static void make_file(unsigned int i)
{
	struct node n = {
		.type = FILE_,
		.mode = 0400 | below(01000),
		.length = below(2000) * 8,
		.content = ++next_content,
	};
	const char *path = path_of(i);
	static char buf[16384];
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, n.mode);

	if (fd < 0) {
		bad("create", path);
		return;
	}
	fill(&n, buf);
	if (write(fd, buf, n.length) != (ssize_t)n.length)
		bad("write", path);
	close(fd);
	nodes[i] = n;
}

static void make_other(unsigned int i, enum type type)
{
	const char *path = path_of(i);
	char target[32];

	nodes[i] = (struct node){
		.type = type,
		.mode = 0700,
		.content = ++next_content,
	};
	(void)snprintf(target, sizeof(target), "to-%llu",
		       (unsigned long long)nodes[i].content);
	if ((type == DIR_ ? mkdir(path, 0700) : symlink(target, path)) < 0)
		bad("make", path);
}

static unsigned int links_of(const struct node *n)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < NODES; i++)
		count += nodes[i].type == n->type &&
			 nodes[i].content == n->content;
	return count;
}

static void remove_node(unsigned int i)
{
	const char *path = path_of(i);

	if ((nodes[i].type == DIR_ ? rmdir(path) : unlink(path)) < 0)
		bad("remove", path);
	nodes[i].type = NONE;
}

static void move(unsigned int i, unsigned int to)
{
	const bool same = nodes[to].type == nodes[i].type &&
			  nodes[to].content == nodes[i].content;
	const bool may = nodes[to].type == NONE ||
			 (nodes[i].type == DIR_) == (nodes[to].type == DIR_);
	int r = rename(path_of(i), path_of(to));

	if ((r == 0) != may)
		bad("rename", path_of(to));
	if (r < 0 || same || i == to)
		return;
	nodes[to] = nodes[i];
	nodes[i].type = NONE;
}

static void link_node(unsigned int i, unsigned int to)
{
	const int want = nodes[i].type == DIR_    ? EPERM
			 : nodes[to].type != NONE ? EEXIST
						  : 0;
	int r = link(path_of(i), path_of(to));

	if (r < 0 && errno == EEXIST && nodes[to].type != NONE)
		return;
	if ((r == 0) != (want == 0) || (r < 0 && errno != want))
		bad("link", path_of(to));
	if (r == 0)
		nodes[to] = nodes[i];
}

static void change_mode(unsigned int i)
{
	uint32_t mode = 0400 | below(01000);

	if (nodes[i].type != FILE_)
		return;
	if (chmod(path_of(i), mode) < 0)
		bad("chmod", path_of(i));
	for (unsigned int k = 0; k < NODES; k++)
		if (nodes[k].type == FILE_ &&
		    nodes[k].content == nodes[i].content)
			nodes[k].mode = mode;
}

static void check_content(unsigned int i, const char *path)
{
	static char want[16384], got[16384];
	int fd = open(path, O_RDONLY);

	fill(&nodes[i], want);
	if (fd < 0 || read(fd, got, sizeof(got)) != (ssize_t)nodes[i].length ||
	    memcmp(want, got, nodes[i].length) != 0)
		bad("another content", path);
	if (fd >= 0)
		close(fd);
}

static void check_node(unsigned int i)
{
	const struct node *n = &nodes[i];
	const char *path = path_of(i);
	struct stat st;
	int r = lstat(path, &st);

	if (n->type == NONE) {
		if (r == 0 || errno != ENOENT)
			bad("should not be there", path);
		return;
	}
	if (r < 0) {
		bad("should be there", path);
		return;
	}
	if (n->type == FILE_) {
		if (!S_ISREG(st.st_mode) || (st.st_mode & 07777) != n->mode ||
		    st.st_size != (off_t)n->length ||
		    st.st_nlink != links_of(n))
			bad("another mode, size or link count", path);
		check_content(i, path);
	} else if (n->type == DIR_ ? !S_ISDIR(st.st_mode)
				   : !S_ISLNK(st.st_mode)) {
		bad("another type", path);
	}
}

static void own_step(void)
{
	unsigned int i = below(NODES), to = below(NODES);

	if (nodes[i].type == NONE) {
		if (below(4))
			make_file(i);
		else
			make_other(i, below(2) ? DIR_ : LINK);
		return;
	}
	switch (below(8)) {
	case 0:
	case 1:
		remove_node(i);
		break;
	case 2:
	case 3:
		move(i, to);
		break;
	case 4:
		link_node(i, to);
		break;
	case 5:
		change_mode(i);
		break;
	default:
		check_node(i);
	}
}

static void check_listing(void)
{
	char path[PATH_MAX];
	unsigned int want = 0, got = 0;
	struct dirent *e;
	DIR *d;

	for (unsigned int i = 0; i < NODES; i++) {
		want += nodes[i].type != NONE;
		check_node(i);
	}
	(void)snprintf(path, sizeof(path), "%s/own-%u", tops[way], self);
	d = opendir(path);
	if (!d) {
		bad("opendir", path);
		return;
	}
	while ((e = readdir(d)))
		got += e->d_name[0] != '.';
	closedir(d);
	if (got != want)
		bad("another number of names", path);
}

/* ---- the common one -------------------------------------------------------
 */

static void may_fail(int r, const char *what, const char *path)
{
	if (r < 0 && errno != ENOENT && errno != EEXIST && errno != ENOTEMPTY &&
	    errno != EISDIR && errno != ENOTDIR && errno != EPERM &&
	    errno != ESTALE)
		bad(what, path);
}

static void common_step(void)
{
	char a[PATH_MAX], b[PATH_MAX];
	int fd;

	(void)snprintf(a, sizeof(a), "%s/common/c%u", tops[way], below(COMMON));
	(void)snprintf(b, sizeof(b), "%s/common/c%u", tops[way], below(COMMON));
	switch (below(7)) {
	case 0:
	case 1:
		fd = open(a, O_CREAT | O_RDWR, 0666);
		may_fail(fd, "open", a);
		if (fd >= 0) {
			if (pwrite(fd, a, 100, below(5000)) != 100)
				bad("write", a);
			close(fd);
		}
		break;
	case 2:
		may_fail(unlink(a), "unlink", a);
		break;
	case 3:
		may_fail(rename(a, b), "rename", a);
		break;
	case 4:
		may_fail(link(a, b), "link", a);
		break;
	case 5:
		may_fail(mkdir(a, 0777), "mkdir", a);
		break;
	default:
		may_fail(rmdir(a), "rmdir", a);
	}
}

static int run_process(uint64_t seed, unsigned long steps)
{
	char path[PATH_MAX];

	state = seed * 1000 + self;
	(void)snprintf(path, sizeof(path), "%s/own-%u", tops[0], self);
	if (mkdir(path, 0777) < 0)
		bad("mkdir", path);
	for (step = 0; step < steps && failures_here < 5; step++) {
		way = below(ways);
		if (below(5))
			own_step();
		else
			common_step();
	}
	if (failures_here < 5)
		check_listing();
	fflush(stdout);
	return failures_here != 0;
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10)
				 : (uint64_t)time(NULL);
	unsigned long steps = argc > 3 ? strtoul(argv[3], NULL, 10) : 1000;
	unsigned int count = argc > 4 ? (unsigned int)atoi(argv[4]) : 2;
	char path[PATH_MAX];
	int status, r = 0;

	if (argc < 2) {
		fprintf(stderr, "usage: tree DIR [SEED [STEPS [PROCESSES "
				"[DIR2]]]]\n");
		return 2;
	}
	umask(0);
	tops[0] = argv[1];
	tops[1] = argc > 5 ? argv[5] : NULL;
	ways = tops[1] ? 2 : 1;
	printf("# seed %llu\n", (unsigned long long)seed);
	fflush(stdout);
	(void)snprintf(path, sizeof(path), "%s/common", tops[0]);
	if (mkdir(path, 0777) < 0)
		bad("mkdir", path);
	for (self = 0; self < count; self++)
		if (fork() == 0)
			_exit(run_process(seed, steps));
	while (wait(&status) > 0)
		r |= status;
	printf("%sok tree: %lu random changes by %u processes%s\n",
	       r ? "not " : "", steps, count,
	       ways > 1 ? ", by two mounts" : "");
	return r != 0;
}
