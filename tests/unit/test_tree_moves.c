/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Two who use a tree move directories, each with all the locks on inodes that
 * its own move needs, so that only the one lock for moves stands between them:
 * neither may find its place below what the other has moved below its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tree_world.h"

#define OK      HEAL_OK
#define N(name) (name), strlen(name)

struct side { /* from/moved/into: what is moved, and where to by the other */
	struct actor *a;
	const char *name; /* of from */
	uint64_t from, moved, into;
};

static uint64_t mkdir_(struct actor *a, uint64_t dir, const char *name)
{
	uint64_t ino = 0;

	OK(cfs_fs_mkdir(a->fs, dir, N(name), 0755, 0, 0, &ino, &err_));
	return ino;
}

/* Its lock on @dir, alone. */
static void touch(struct actor *a, uint64_t dir)
{
	(void)mkdir_(a, dir, "mine");
	OK(cfs_fs_rmdir(a->fs, dir, N("mine"), &err_));
}

static void side_make(struct side *s, struct actor *a, const char *name)
{
	s->a = a;
	s->name = name;
	s->from = mkdir_(a, cfs_fs_root_ino(a->fs), name);
	s->moved = mkdir_(a, s->from, "moved");
	s->into = mkdir_(a, s->moved, "into");
}

static uint64_t lookup(struct actor *a, uint64_t dir, const char *name)
{
	uint64_t ino = 0;

	OK(cfs_fs_lookup(a->fs, dir, N(name), &ino, NULL, &err_));
	return ino;
}

/* As who walks there by names. */
static void walk(struct actor *a, const struct side *s)
{
	uint64_t ino = lookup(a, cfs_fs_root_ino(a->fs), s->name);

	ino = lookup(a, lookup(a, ino, "moved"), "into");
	assert_int_equal(ino, s->into);
}

/* What @s moves goes to @to. */
static void hold_all(const struct side *s, const struct side *to)
{
	touch(s->a, s->from);
	touch(s->a, s->moved);
	touch(s->a, to->into);
}

static int move(const struct side *s, const struct side *to)
{
	return cfs_fs_rename(s->a->fs, s->from, N("moved"), to->into,
			     N("moved"), 0, NULL);
}

static void must_stand(struct actor *a, uint64_t dir, uint64_t ino)
{
	assert_int_equal(lookup(a, dir, "moved"), ino);
}

/* The first one's goes below the second one's, which then stays. */
static void against(unsigned int first, unsigned int second)
{
	struct tree_world w;
	struct side one, two;
	uint64_t none;

	world_start(&w, 3);
	side_make(&one, &w.actors[first], "one");
	side_make(&two, &w.actors[second], "two");
	for (unsigned int i = 0; i < 3; i++) {
		walk(&w.actors[i], &one);
		walk(&w.actors[i], &two);
	}
	hold_all(&one, &two);
	hold_all(&two, &one);
	assert_int_equal(move(&one, &two), 0);
	assert_int_equal(move(&two, &one), -EINVAL);
	for (unsigned int i = 0; i < 3; i++) {
		must_stand(&w.actors[i], two.into, one.moved);
		must_stand(&w.actors[i], two.from, two.moved);
		assert_int_equal(cfs_fs_lookup(w.actors[i].fs, one.from,
					       N("moved"), &none, NULL, NULL),
				 -ENOENT);
	}
	/* Out of it again, and then the other may. */
	OK(cfs_fs_rename(one.a->fs, two.into, N("moved"), one.from, N("moved"),
			 0, &err_));
	assert_int_equal(move(&two, &one), 0);
	must_stand(one.a, one.into, two.moved);
	world_stop(&w);
}

static void test_clients(void **state)
{
	(void)state;
	against(1, 2);
}

static void test_manager_first(void **state)
{
	(void)state;
	against(0, 1);
}

static void test_client_first(void **state)
{
	(void)state;
	against(2, 0);
}

/* A file from a directory of one to a directory of the other, by a third who
 * has neither: it stands in one of them, whoever looks. */
static void test_of_two_holders(void **state)
{
	struct tree_world w;
	uint64_t dirs[2], ino = 0, got;

	(void)state;
	world_start(&w, 3);
	for (unsigned int i = 0; i < 2; i++) {
		struct actor *a = &w.actors[1 + i];

		dirs[i] = mkdir_(a, cfs_fs_root_ino(a->fs), i ? "b" : "a");
		touch(a, dirs[i]);
	}
	OK(cfs_fs_create(w.actors[1].fs, dirs[0], N("file"), 0644, 0, 0, &ino,
			 &err_));
	for (unsigned int i = 0; i < 3; i++)
		for (unsigned int k = 0; k < 2; k++)
			(void)lookup(&w.actors[i],
				     cfs_fs_root_ino(w.actors[i].fs),
				     k ? "b" : "a");
	for (unsigned int round = 0; round < 6; round++) {
		struct actor *mover = &w.actors[round % 3];
		const uint64_t from = dirs[round % 2], to = dirs[!(round % 2)];

		touch(&w.actors[1], dirs[0]);
		touch(&w.actors[2], dirs[1]);
		OK(cfs_fs_rename(mover->fs, from, N("file"), to, N("file"), 0,
				 &err_));
		for (unsigned int i = 0; i < 3; i++) {
			struct cfs_fs *fs = w.actors[(round + i) % 3].fs;

			assert_int_equal(cfs_fs_lookup(fs, from, N("file"),
						       &got, NULL, NULL),
					 -ENOENT);
			OK(cfs_fs_lookup(fs, to, N("file"), &got, NULL, &err_));
			assert_int_equal(got, ino);
		}
	}
	world_stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clients),
		cmocka_unit_test(test_manager_first),
		cmocka_unit_test(test_client_first),
		cmocka_unit_test(test_of_two_holders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
