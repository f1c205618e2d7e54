/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Space of volumes and snapshots against a count of who sees which block: the
 * heads, the snapshots, and the forks of branches, each walked by itself.
 * Random changes to a LUN and a tree, to their clones and to clones of those;
 * a seed is printed where it fails.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "heal_fixture.h"
#include "volume/fs.h"
#include "volume/vols_priv.h"

#define LUN_BLOCKS 48u
#define FILES      6u
#define VOLUMES    5u
#define SNAPSHOTS  6u
#define STEPS      60u
#define SEEDS      100u
#define SEEN_MAX   65536u
#define VIEWS_MAX  256u

/* ---- the judge ----------------------------------------------------------- */

struct seen {
	uint64_t vaddr;
	unsigned int view;
};

struct count {
	uint64_t blocks, alone, inodes;
};

struct judge {
	struct seen seen[SEEN_MAX];
	size_t seen_count;
	struct count counts[VIEWS_MAX];
	unsigned int view_count;
	struct {
		uint64_t volume, stamp; /* CFS_STAMP_HEAD; 0: a fork */
	} views[VIEWS_MAX];
};

static int add_seen(void *arg, const struct segment *s, struct cfs_err *err)
{
	struct judge *j = arg;

	(void)err;
	if (s->kind != SEGMENT_DISK)
		return 0;
	for (uint64_t i = 0; i < s->count; i++) {
		assert_true(j->seen_count < SEEN_MAX);
		j->seen[j->seen_count++] = (struct seen){ s->vaddr + i,
							  j->view_count };
	}
	return 0;
}

/* A LUN has one inode, without a record. */
static void see(struct judge *j, uint64_t volume, uint64_t stamp,
		const struct cfs_view *view, uint64_t lun_ino)
{
	uint64_t inodes = 0;

	if (lun_ino)
		HEAL_OK(cfs_segments(view, lun_ino, 0, 4096, add_seen, j,
				     &err_));

	for (uint64_t ino = 0;; ino++) {
		int r = cfs_map_next_inode(view, &ino, NULL);

		if (r == -ENOENT)
			break;
		assert_int_equal(r, 0);
		inodes++;
		HEAL_OK(cfs_segments(view, ino, 0, 4096, add_seen, j, &err_));
	}
	assert_true(j->view_count < VIEWS_MAX);
	j->counts[j->view_count].inodes = inodes;
	j->views[j->view_count].volume = volume;
	j->views[j->view_count].stamp = stamp;
	j->view_count++;
}

struct looking {
	struct judge *j;
	struct cfs_member *m;
	uint64_t lun_ino;
	uint64_t ids[VOLUMES + 1];
	size_t id_count;
};

static int note_volume(void *arg, uint64_t id, const struct cfs_volume_rec *rec,
		       struct cfs_err *err)
{
	struct looking *l = arg;

	(void)err;
	l->lun_ino = rec->kind == CFS_VOLUME_LUN ? rec->ino : 0;
	assert_true(l->id_count <= VOLUMES);
	l->ids[l->id_count++] = id;
	return 0;
}

struct noted {
	uint64_t stamp[SNAPSHOTS + 1];
	uint16_t branch[SNAPSHOTS + 1];
	char name[SNAPSHOTS + 1][128];
	size_t count;
};

static int note_snapshot(void *arg, uint64_t stamp,
			 const struct cfs_snapshot_rec *rec,
			 struct cfs_err *err)
{
	struct noted *n = arg;

	(void)err;
	assert_true(n->count <= SNAPSHOTS);
	n->stamp[n->count] = stamp;
	n->branch[n->count] = (uint16_t)rec->branch;
	(void)snprintf(n->name[n->count], sizeof(n->name[0]), "%s", rec->name);
	n->count++;
	return 0;
}

static int by_vaddr(const void *a, const void *b)
{
	const struct seen *x = a, *y = b;

	return (x->vaddr > y->vaddr) - (x->vaddr < y->vaddr);
}

/* Each block once a view; blocks that one view alone sees. */
static void add_up(struct judge *j)
{
	qsort(j->seen, j->seen_count, sizeof(*j->seen), by_vaddr);
	for (size_t i = 0, k; i < j->seen_count; i = k) {
		for (k = i;
		     k < j->seen_count && j->seen[k].vaddr == j->seen[i].vaddr;
		     k++)
			j->counts[j->seen[k].view].blocks++;
		if (k == i + 1)
			j->counts[j->seen[i].view].alone++;
	}
}

static struct count *count_of(struct judge *j, uint64_t volume, uint64_t stamp)
{
	for (unsigned int i = 0; i < j->view_count; i++)
		if (j->views[i].volume == volume && j->views[i].stamp == stamp)
			return &j->counts[i];
	fail_msg("no view of volume %ju at %ju", (uintmax_t)volume,
		 (uintmax_t)stamp);
	return NULL;
}

static void look_everywhere(struct looking *l)
{
	struct cfs_container *c = l->m->container;
	struct branch *b, *tmp;

	for (size_t i = 0; i < l->id_count; i++) {
		struct noted n = { .count = 0 };
		struct cfs_volume_rec rec;
		struct cfs_view view;

		HEAL_OK(cfs_volume_get(l->m, l->ids[i], &rec, &err_));
		HEAL_OK(cfs_snapshot_each(l->m, l->ids[i], note_snapshot, &n,
					  &err_));
		cfs_volume_view(l->m, &rec, &view);
		cfs_container_lock(c);
		see(l->j, l->ids[i], CFS_STAMP_HEAD, &view, l->lun_ino);
		for (size_t k = 0; k < n.count; k++) {
			view.branch = n.branch[k];
			view.stamp = n.stamp[k];
			see(l->j, l->ids[i], n.stamp[k], &view, l->lun_ino);
		}
		cfs_container_unlock(c);
	}
	cfs_container_lock(c);
	HASH_ITER(hh, l->m->vols->branches, b, tmp) {
		const struct cfs_view view = {
			.container = c,
			.branch = (uint16_t)b->rec.parent,
			.stamp = b->rec.fork_stamp,
		};

		if (b->rec.parent)
			see(l->j, 0, 0, &view, l->lun_ino);
	}
	cfs_container_unlock(c);
}

static void judge(struct cfs_member *m)
{
	struct looking l = { .j = calloc(1, sizeof(*l.j)), .m = m };

	assert_non_null(l.j);
	HEAL_OK(cfs_container_commit(m->container, &err_));
	HEAL_OK(cfs_volume_each(m, note_volume, &l, &err_));
	look_everywhere(&l);
	add_up(l.j);
	for (size_t i = 0; i < l.id_count; i++) {
		const struct count *head = count_of(l.j, l.ids[i],
						    CFS_STAMP_HEAD);
		struct cfs_volume_space space;

		HEAL_OK(cfs_volume_space(m, l.ids[i], &space, &err_));
		assert_int_equal(space.used_blocks, head->blocks);
		assert_int_equal(space.shared_blocks,
				 head->blocks - head->alone);
		assert_int_equal(space.inode_count, head->inodes);
		for (size_t k = 0; k < space.snapshot_count; k++) {
			const struct cfs_snapshot_space *s =
				&space.snapshots[k];
			const struct count *c = count_of(l.j, l.ids[i],
							 s->stamp);

			assert_int_equal(s->seen_blocks, c->blocks);
			assert_int_equal(s->exclusive_blocks, c->alone);
		}
		free(space.snapshots);
	}
	free(l.j);
}

/* ---- changes ------------------------------------------------------------- */

static void change_lun(struct cfs_member *m, const struct cfs_volume_rec *rec,
		       struct cfs_rng *rng)
{
	static uint8_t bytes[8 * HEAL_BLOCK];
	uint64_t at = cfs_rng_below(rng, LUN_BLOCKS);
	size_t n = 1 + (size_t)cfs_rng_below(rng, 8);

	n = CFS_MIN(n, LUN_BLOCKS - at);
	HEAL_OK(cfs_op_begin(m->container, CFS_OP_NORMAL, &err_));
	if (cfs_rng_below(rng, 4)) {
		cfs_rng_fill(rng, bytes, n * HEAL_BLOCK);
		HEAL_OK(cfs_data_write(m->container, (uint16_t)rec->head_branch,
				       rec->ino, at * HEAL_BLOCK, bytes,
				       n * HEAL_BLOCK, &err_));
	} else {
		HEAL_OK(cfs_data_punch(m->container, (uint16_t)rec->head_branch,
				       rec->ino, at * HEAL_BLOCK,
				       n * HEAL_BLOCK, &err_));
	}
	cfs_op_end(m->container);
}

static void change_tree(struct cfs_member *m, const struct cfs_volume_rec *rec,
			struct cfs_rng *rng)
{
	static uint8_t bytes[8 * HEAL_BLOCK];
	char name[16];
	struct cfs_inode inode;
	struct cfs_view view;
	struct cfs_fs *fs;
	uint64_t ino;
	size_t n = 1 + (size_t)cfs_rng_below(rng, 8), done;
	int r;

	cfs_rng_fill(rng, bytes, sizeof(bytes));
	(void)snprintf(name, sizeof(name), "f%ju",
		       (uintmax_t)cfs_rng_below(rng, FILES));
	cfs_volume_view(m, rec, &view);
	HEAL_OK(cfs_fs_open(&view, rec->ino, rec->hash_seed, &fs, &err_));
	r = cfs_fs_lookup(fs, rec->ino, name, strlen(name), &ino, &inode, NULL);
	if (r == 0 && cfs_rng_below(rng, 3) == 0) {
		HEAL_OK(cfs_fs_unlink(fs, rec->ino, name, strlen(name), &err_));
	} else {
		if (r < 0)
			HEAL_OK(cfs_fs_create(fs, rec->ino, name, strlen(name),
					      0644, 0, 0, &ino, &err_));
		HEAL_OK(cfs_fs_write(fs, ino,
				     cfs_rng_below(rng, 8) * HEAL_BLOCK, bytes,
				     n * HEAL_BLOCK, &done, &err_));
	}
	cfs_fs_close(fs);
}

/* Of a snapshot, or of having none. */
static void change_versions(struct cfs_member *m, uint64_t id,
			    const struct noted *n, size_t volume_count,
			    struct cfs_rng *rng, unsigned int step)
{
	const char *name = n->count ? n->name[cfs_rng_below(rng, n->count)]
				    : NULL;
	char new_name[16];
	const struct cfs_snapshot_name snap = { m, id, new_name };
	int r;

	(void)snprintf(new_name, sizeof(new_name), "n%u", step);
	switch (cfs_rng_below(rng, 5)) {
	case 0:
		if (name && volume_count < VOLUMES)
			HEAL_OK(cfs_snapshot_clone(m, id, name, new_name,
						   &err_));
		break;
	case 1:
		if (name)
			HEAL_OK(cfs_snapshot_rollback(m, id, name, NULL,
						      &err_));
		break;
	case 2:
		r = name ? cfs_snapshot_remove(m, id, name, NULL, NULL) : 0;
		assert_true(r == 0 || r == -EBUSY);
		break;
	case 3:
		r = id != CFS_VOLUME_FIRST && cfs_rng_below(rng, 3) == 0
			    ? cfs_volume_remove(m, id, true, NULL)
			    : 0;
		assert_true(r == 0 || r == -EBUSY);
		break;
	default:
		if (n->count < SNAPSHOTS)
			HEAL_OK(cfs_snapshot_take(&snap, 1, NULL, &err_));
	}
}

static void change(struct cfs_member *m, struct cfs_rng *rng, unsigned int step)
{
	struct looking l = { .m = m };
	struct noted n = { .count = 0 };
	struct cfs_volume_rec rec;
	uint64_t id;

	HEAL_OK(cfs_volume_each(m, note_volume, &l, &err_));
	id = l.ids[cfs_rng_below(rng, l.id_count)];
	HEAL_OK(cfs_volume_get(m, id, &rec, &err_));
	HEAL_OK(cfs_snapshot_each(m, id, note_snapshot, &n, &err_));
	if (cfs_rng_below(rng, 3) == 0)
		change_versions(m, id, &n, l.id_count, rng, step);
	else if (rec.kind == CFS_VOLUME_LUN)
		change_lun(m, &rec, rng);
	else
		change_tree(m, &rec, rng);
}

static void run(uint64_t seed, bool is_tree)
{
	struct heal_pool h = heal_new(false, LUN_BLOCKS * HEAL_BLOCK);
	struct cfs_member *m = is_tree ? h.tree : h.lun;
	struct cfs_rng rng;

	print_message("seed %ju\n", (uintmax_t)seed);
	cfs_rng_init(&rng, seed);
	for (unsigned int step = 0; step < STEPS; step++) {
		change(m, &rng, step);
		if (step % 4 == 3)
			judge(m);
	}
	heal_check_clean(&h);
	heal_free(&h);
}

static void test_lun(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++)
		run(seed, false);
}

static void test_tree(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++)
		run(seed, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lun),
		cmocka_unit_test(test_tree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
