/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Histories of a LUN that an owner and two clients write, each in its part,
 * against a model: writes, holes, syncs, folds, snapshots, parts that pass
 * from one to another, clients that die (gone or not) and come anew, owners
 * that die.  The seed is printed; CFS_SEED sets it, CFS_LONG takes more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client_fixture.h"

#define PARTS       6u
#define PART_BLOCKS 48u
#define BLOCKS      (PARTS * PART_BLOCKS)
#define LUN_BYTES   ((uint64_t)BLOCKS * HEAL_BLOCK)
#define CLIENTS     2u
#define SNAPS_MAX   12u
#define STEPS       400u

/* What stands in a block: the seed of its content, 0: zeroes. */
struct image {
	uint32_t seeds[BLOCKS];
};

struct story {
	struct cfs_rng rng;
	struct heal_pool h;
	uint64_t ino;
	struct client clients[CLIENTS];
	/* Who holds a part: a client, or CLIENTS: the owner. */
	unsigned int holder[PARTS];
	struct image now;    /* as each holder sees its parts */
	struct image synced; /* what must survive its holder */
	struct image seen;   /* by everybody: folded */
	uint32_t next_seed;
	struct image snaps[SNAPS_MAX];
	uint64_t stamps[SNAPS_MAX];
	unsigned int snap_count;
	struct {
		uint64_t id;
	} zombies[64];
	unsigned int zombie_count;
	unsigned int known_folds[CLIENTS]; /* when it was last asked to */
};

static uint32_t below(struct story *s, uint32_t n)
{
	return (uint32_t)cfs_rng_below(&s->rng, n);
}

static void content(uint32_t seed, uint8_t block[HEAL_BLOCK])
{
	memset(block, 0, HEAL_BLOCK);
	if (seed)
		heal_fill(block, HEAL_BLOCK, seed);
}

static struct cfs_container *container_of(struct story *s, unsigned int who)
{
	return who == CLIENTS ? s->h.lun->container : s->clients[who].c;
}

static void take_part(struct image *to, const struct image *from,
		      unsigned int part)
{
	memcpy(to->seeds + (size_t)part * PART_BLOCKS,
	       from->seeds + (size_t)part * PART_BLOCKS,
	       PART_BLOCKS * sizeof(*to->seeds));
}

/* All parts of @who: from one image to another. */
static void take_all(struct story *s, unsigned int who, struct image *to,
		     const struct image *from)
{
	for (unsigned int p = 0; p < PARTS; p++)
		if (s->holder[p] == who)
			take_part(to, from, p);
}

static void must_show(struct cfs_container *c, uint64_t stamp, uint64_t ino,
		      const struct image *want, unsigned int first,
		      unsigned int count)
{
	static uint8_t got[BLOCKS * HEAL_BLOCK];
	uint8_t block[HEAL_BLOCK];

	HEAL_OK(client_read(c, stamp, ino, (uint64_t)first * HEAL_BLOCK, got,
			    (size_t)count * HEAL_BLOCK, &err_));
	for (unsigned int i = 0; i < count; i++) {
		content(want->seeds[first + i], block);
		if (memcmp(block, got + (size_t)i * HEAL_BLOCK, HEAL_BLOCK))
			fail_msg("block %u is not %u", first + i,
				 want->seeds[first + i]);
	}
}

/* ---- steps ----------------------------------------------------------------
 */

static void write_some(struct story *s, unsigned int part)
{
	static uint8_t buf[PART_BLOCKS * HEAL_BLOCK];
	unsigned int from = below(s, PART_BLOCKS);
	unsigned int n = 1 + below(s, below(s, 3) ? 4 : PART_BLOCKS);
	unsigned int first = part * PART_BLOCKS + from;

	n = CFS_MIN(n, PART_BLOCKS - from);
	for (unsigned int i = 0; i < n; i++) {
		s->now.seeds[first + i] = ++s->next_seed;
		content(s->next_seed, buf + (size_t)i * HEAL_BLOCK);
	}
	HEAL_OK(client_write(container_of(s, s->holder[part]), s->ino,
			     (uint64_t)first * HEAL_BLOCK, buf,
			     (size_t)n * HEAL_BLOCK, &err_));
}

static void punch_some(struct story *s, unsigned int part)
{
	unsigned int from = below(s, PART_BLOCKS);
	unsigned int n = 1 + below(s, 12);
	unsigned int first = part * PART_BLOCKS + from;

	n = CFS_MIN(n, PART_BLOCKS - from);
	HEAL_OK(client_punch(container_of(s, s->holder[part]), s->ino,
			     (uint64_t)first * HEAL_BLOCK,
			     (uint64_t)n * HEAL_BLOCK, &err_));
	for (unsigned int i = 0; i < n; i++)
		s->now.seeds[first + i] = 0;
}

static void sync_one(struct story *s, unsigned int who)
{
	HEAL_OK(cfs_container_sync(container_of(s, who), &err_));
	take_all(s, who, &s->synced, &s->now);
	if (who == CLIENTS)
		take_all(s, who, &s->seen, &s->now);
}

/* What the client has becomes everybody's; it sees all others have folded. */
static void fold_one(struct story *s, unsigned int who)
{
	if (who == CLIENTS) {
		HEAL_OK(cfs_container_commit(s->h.lun->container, &err_));
	} else if (below(s, 4) == 0) {
		HEAL_OK(cfs_container_give_back(s->clients[who].c, below(s, 2),
						&err_));
	} else {
		HEAL_OK(cfs_container_fold(s->clients[who].c, &err_));
	}
	take_all(s, who, &s->synced, &s->now);
	take_all(s, who, &s->seen, &s->now);
	if (who < CLIENTS)
		s->known_folds[who] = s->clients[who].folds;
}

static void pass_part(struct story *s, unsigned int part)
{
	unsigned int to = below(s, CLIENTS + 1);

	fold_one(s, s->holder[part]);
	if (to < CLIENTS)
		HEAL_OK(cfs_container_refresh(s->clients[to].c, &err_));
	/* The fold that a refresh may be has everything of its, too. */
	take_all(s, to, &s->synced, &s->now);
	take_all(s, to, &s->seen, &s->now);
	if (to < CLIENTS)
		s->known_folds[to] = s->clients[to].folds;
	s->holder[part] = to;
}

static void snapshot(struct story *s)
{
	struct cfs_snapshot_rec rec;
	char name[16];

	if (s->snap_count == SNAPS_MAX)
		return;
	for (unsigned int i = 0; i < CLIENTS; i++)
		HEAL_OK(cfs_container_hold(s->clients[i].c, &err_));
	for (unsigned int i = 0; i <= CLIENTS; i++) {
		take_all(s, i, &s->synced, &s->now);
		take_all(s, i, &s->seen, &s->now);
		if (i < CLIENTS)
			s->known_folds[i] = s->clients[i].folds;
	}
	(void)snprintf(name, sizeof(name), "s%u", s->snap_count);
	heal_snapshot(s->h.lun, name);
	HEAL_OK(cfs_snapshot_find(s->h.lun, CFS_VOLUME_FIRST, name,
				  &s->stamps[s->snap_count], &rec, &err_));
	s->snaps[s->snap_count++] = s->now;
	/* Or they do so themselves, when they go on. */
	for (unsigned int i = 0; i < CLIENTS; i++)
		if (below(s, 2))
			HEAL_OK(cfs_container_refresh(s->clients[i].c, &err_));
}

/* It dies: what it had not synced is lost, or not; the model knows not, so
 * a sync goes before. */
static void kill_client(struct story *s, unsigned int who)
{
	struct client *cl = &s->clients[who];
	const unsigned int how = below(s, 4);

	sync_one(s, who);
	if (how == 0) { /* behind the seal it goes on for a while */
		uint8_t buf[HEAL_BLOCK];

		HEAL_OK(cfs_container_client_seal(s->h.lun->container, cl->id,
						  false, NULL, &err_));
		heal_fill(buf, sizeof(buf), 4711);
		for (unsigned int i = 0; i < 20; i++)
			if (client_write(cl->c, s->ino,
					 below(s, BLOCKS) *
						 (uint64_t)HEAL_BLOCK,
					 buf, sizeof(buf), NULL) < 0)
				break;
		(void)cfs_container_sync(cl->c, NULL);
		(void)cfs_container_fold(cl->c, NULL);
	}
	client_kill(cl);
	if (how == 1)
		HEAL_OK(cfs_container_client_seal(s->h.lun->container, cl->id,
						  false, NULL, &err_));
	if (how == 2)
		HEAL_OK(cfs_container_client_seal(s->h.lun->container, cl->id,
						  true, NULL, &err_));
	if (how == 3)
		HEAL_OK(cfs_container_client_gone(s->h.lun->container, cl->id,
						  NULL, &err_));
	else if (s->zombie_count < 64)
		s->zombies[s->zombie_count++].id = cl->id;
	take_all(s, who, &s->seen, &s->synced);
	take_all(s, who, &s->now, &s->synced);
	client_new(cl, &s->h, s->h.lun);
	s->known_folds[who] = 0;
}

static void bury(struct story *s)
{
	if (s->zombie_count == 0)
		return;
	HEAL_OK(cfs_container_client_gone(s->h.lun->container,
					  s->zombies[--s->zombie_count].id,
					  NULL, &err_));
}

static void kill_owner(struct story *s)
{
	sync_one(s, CLIENTS);
	cfs_pool_drop(s->h.pool);
	heal_open(&s->h, false);
	heal_members(&s->h);
	for (unsigned int i = 0; i < CLIENTS; i++)
		s->clients[i].owner = s->h.lun->container;
}

static void look(struct story *s)
{
	unsigned int part = below(s, PARTS), who = s->holder[part];

	must_show(container_of(s, who), CFS_STAMP_HEAD, s->ino, &s->now,
		  part * PART_BLOCKS, PART_BLOCKS);
	/* One that has folded of itself shows more than it was asked to. */
	if (who != CLIENTS && s->clients[who].folds == s->known_folds[who])
		must_show(s->h.lun->container, CFS_STAMP_HEAD, s->ino, &s->seen,
			  part * PART_BLOCKS, PART_BLOCKS);
	if (s->snap_count) {
		unsigned int i = below(s, s->snap_count);

		/* Of a snapshot that its view does not have a client cannot
		 * say anything. */
		who = below(s, CLIENTS + 1);
		fold_one(s, who);
		if (who < CLIENTS)
			HEAL_OK(cfs_container_refresh(s->clients[who].c,
						      &err_));
		must_show(container_of(s, who), s->stamps[i], s->ino,
			  &s->snaps[i], 0, BLOCKS);
	}
}

static void step(struct story *s)
{
	unsigned int part = below(s, PARTS), what = below(s, 100);

	if (what < 45)
		write_some(s, part);
	else if (what < 55)
		punch_some(s, part);
	else if (what < 68)
		sync_one(s, below(s, CLIENTS + 1));
	else if (what < 78)
		fold_one(s, below(s, CLIENTS + 1));
	else if (what < 83)
		pass_part(s, part);
	else if (what < 86)
		snapshot(s);
	else if (what < 88)
		kill_client(s, below(s, CLIENTS));
	else if (what < 90)
		bury(s);
	else if (what < 91)
		kill_owner(s);
	else
		look(s);
}

static void tell_story(uint64_t seed, unsigned int steps)
{
	struct story *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	print_message("# seed %llu\n", (unsigned long long)seed);
	cfs_rng_init(&s->rng, seed);
	s->h = heal_new(seed % 3 == 0, LUN_BYTES);
	s->ino = heal_volume(s->h.lun).ino;
	for (unsigned int i = 0; i < CLIENTS; i++)
		client_new(&s->clients[i], &s->h, s->h.lun);
	for (unsigned int p = 0; p < PARTS; p++)
		s->holder[p] = p % (CLIENTS + 1);
	for (unsigned int i = 0; i < steps; i++) {
		step(s);
		if (i % 100 == 99)
			heal_check_clean(&s->h);
	}
	while (s->zombie_count)
		bury(s);
	for (unsigned int i = 0; i < CLIENTS; i++) {
		fold_one(s, i);
		client_close(&s->clients[i]);
	}
	must_show(s->h.lun->container, CFS_STAMP_HEAD, s->ino, &s->now, 0,
		  BLOCKS);
	for (unsigned int i = 0; i < s->snap_count; i++)
		must_show(s->h.lun->container, s->stamps[i], s->ino,
			  &s->snaps[i], 0, BLOCKS);
	heal_check_clean(&s->h);
	heal_scrub_clean(&s->h);
	heal_reopen(&s->h);
	must_show(s->h.lun->container, CFS_STAMP_HEAD, s->ino, &s->now, 0,
		  BLOCKS);
	heal_check_clean(&s->h);
	heal_free(&s->h);
	free(s);
}

static void test_stories(void **state)
{
	const char *from = getenv("CFS_SEED");
	uint64_t seed = from ? strtoull(from, NULL, 10) : 1;
	unsigned int count = from ? 1 : getenv("CFS_LONG") ? 200 : 12;

	(void)state;
	for (unsigned int i = 0; i < count; i++)
		tell_story(seed + i, STEPS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stories),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
