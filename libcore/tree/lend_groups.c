/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Lending groups and inode numbers.  A group on loan is nobody else's: its free
 * blocks cannot be promised, and those that are freed in it meanwhile neither,
 * until it comes back.
 */
#include "tree/lend_priv.h"

#include "base/cleanup.h"
#include "pool/metavolume_watch.h"
#include "tree/space_priv.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#define INOS_MAX          32768u
/* A block that is lent comes back with a record; so many take one more. */
#define RECORDS_PER_BLOCK 16u

static unsigned int bits_count(const uint64_t bits[2])
{
	return (unsigned int)__builtin_popcountll(bits[0]) +
	       (unsigned int)__builtin_popcountll(bits[1]);
}

/* ---- groups in memory ---------------------------------------------------- */

void cfs_lend_touch_group(struct cfs_container *c, uint64_t key)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(c->mv);
	const uint32_t group = cfs_vaddr_block(key);

	if (group < geo->group_count)
		cfs_metavolume_touch(
			c->mv,
			cfs_vaddr(cfs_vaddr_lslice(key),
				  cfs_geometry_group_start(geo, group)),
			1);
}

int cfs_lend_group_new(struct cfs_container *c, uint64_t key,
		       uint64_t client_id, const uint64_t free_bits[2],
		       struct lent_group **ret, struct cfs_err *err)
{
	struct lent_group *g = calloc(1, sizeof(*g));
	int r;

	if (!g)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	g->key = key;
	g->client_id = client_id;
	g->allowed[0] = free_bits[0];
	g->allowed[1] = free_bits[1];
	g->free_blocks = bits_count(free_bits);
	r = cfs_lend_table_add(c->lender, g);
	if (r < 0) {
		free(g);
		return r == -EEXIST
			       ? cfs_err_set(err, -EUCLEAN,
					     "space: group %#" PRIx64
					     " is on loan twice",
					     key)
			       : cfs_err_set(err, -ENOMEM, "out of memory");
	}
	c->lender->lent_blocks += g->free_blocks;
	cfs_lend_touch_group(c, key);
	*ret = g;
	return 0;
}

void cfs_lend_group_drop(struct cfs_container *c, struct lent_group *g)
{
	uint64_t lslice = cfs_vaddr_lslice(g->key);

	c->lender->lent_blocks -= g->free_blocks;
	cfs_lend_touch_group(c, g->key);
	if (lslice < c->slice_room)
		cfs_space_look_again(&c->slices[lslice]);
	cfs_lend_table_remove(c->lender, g);
	free(g);
}

int cfs_lend_load_loan(struct cfs_container *c, const struct cfs_cursor *cur,
		       struct cfs_err *err)
{
	const uint64_t key = cur->key.w[1];
	struct cfs_loan_rec loan;
	const struct client_entry *e;
	uint64_t allowed[2], bits[2];
	struct lent_group *g = NULL;
	bool was_used;
	int r = cfs_client_loan_unpack(cur->value, cur->value_bytes, &loan,
				       allowed, err);

	if (r == 0)
		r = cfs_space_allowed_bits(c, key, bits, &was_used, err);
	if (r == 0)
		r = cfs_lend_group_new(c, key, loan.holder, bits, &g, err);
	if (r != 0)
		return r;
	assert(g);
	e = cfs_lend_entry(c, loan.holder);
	g->number = loan.loan;
	g->allowed[0] &= allowed[0];
	g->allowed[1] &= allowed[1];
	g->is_frozen = loan.state == CFS_LOAN_FROZEN || !e ||
		       e->rec.state != CFS_CLIENT_OPEN;
	return 0;
}

bool cfs_lend_in_slice(const struct cfs_container *c, uint64_t lslice)
{
	struct lent_group *g, *tmp;

	CFS_LENT_EACH(c->lender, g, tmp)
		if (cfs_vaddr_lslice(g->key) == lslice)
			return true;
	return false;
}

uint64_t cfs_lend_claim_of(const struct cfs_container *c)
{
	uint64_t n = c->lender->lent_blocks;

	return n + n / RECORDS_PER_BLOCK;
}

void cfs_lend_released(struct cfs_container *c, uint64_t key,
		       const uint64_t back[2])
{
	struct lent_group *g = cfs_lend_group(c, key);
	uint64_t bad[2];

	if (!g)
		return;
	cfs_space_bad_bits(c, key, bad);
	bad[0] = back[0] & ~bad[0];
	bad[1] = back[1] & ~bad[1];
	g->free_blocks += bits_count(bad);
	c->lender->lent_blocks += bits_count(bad);
}

/* ---- choosing ------------------------------------------------------------ */

/*
 * From the best to the least.  Lesser ones are lent beside too few of the
 * better: who gets one group of many comes back for the next at once, and each
 * time that is a message, and a frame with a flush.
 */
static const struct wish {
	unsigned int run_min, free_min; /* blocks */
} wishes[] = {
	{ CFS_SPACE_LONG, CFS_SPACE_LONG },
	{ 1, 32 },
	{ 1, 1 },
};
#define WISHES CFS_ARRAY_COUNT(wishes)

struct chosen {
	struct cfs_candidate *list;
	size_t count, room;
	uint64_t blocks;     /* in these */
	int64_t blocks_left; /* of what may be lent at all */

	/* What satisfies lesser wishes, met on the way: room for each. */
	struct cfs_candidate *lesser[WISHES];
	size_t lesser_count[WISHES];
};

static int chosen_init(struct chosen *ch, uint32_t count, struct cfs_err *err)
{
	const size_t room = (size_t)count + 1;

	*ch = (struct chosen){ .room = count };
	ch->list = calloc(WISHES * room, sizeof(*ch->list));
	if (!ch->list)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 1; i < WISHES; i++)
		ch->lesser[i] = ch->list + i * room;
	return 0;
}

static void chosen_done(struct chosen *ch)
{
	free(ch->list);
}

/* Half of what was asked for: less is not worth the message. */
static bool is_good_part(const struct chosen *ch)
{
	return ch->blocks >= (uint64_t)ch->room * CFS_TAGS_PER_PAGE / 2;
}

static void take(struct chosen *ch, const struct cfs_candidate *cand)
{
	const unsigned int n = bits_count(cand->allowed);
	const int64_t claim = n + n / RECORDS_PER_BLOCK;

	if (ch->count == ch->room || claim > ch->blocks_left)
		return;
	ch->list[ch->count++] = *cand;
	ch->blocks += n;
	ch->blocks_left -= claim;
}

/*
 * May this one be lent, and how gladly?  Whether its tag page is sound the
 * client finds out, who must read it: it gives the group back unused, and then
 * we look.
 */
static int look_at(struct cfs_container *c, uint64_t key, struct chosen *ch,
		   struct cfs_err *err)
{
	struct cfs_candidate cand = { .key = key };
	struct open_group *g;
	unsigned int n, run;
	size_t i;
	int r;

	HASH_FIND(hh, c->groups, &key, sizeof(key), g);
	if (g || cfs_space_is_unfit(c, key) || cfs_lend_has_group(c, key))
		return 0;
	r = cfs_space_allowed_bits(c, key, cand.allowed, &cand.was_used, err);
	if (r < 0)
		return r;
	n = bits_count(cand.allowed);
	if (n == 0 || n + n / RECORDS_PER_BLOCK > ch->blocks_left)
		return 0;
	run = cfs_space_longest_run(cand.allowed);
	for (i = 0; n < wishes[i].free_min || run < wishes[i].run_min; i++)
		;
	assert(i == 0 || ch->lesser[i]); /* chosen_init */
	if (i == 0)
		take(ch, &cand);
	else if (ch->lesser_count[i] < ch->room)
		ch->lesser[i][ch->lesser_count[i]++] = cand;
	return 0;
}

/* May one of its groups be lent, by what is known of all of it? */
static bool may_have(const struct cfs_container *c, uint64_t lslice)
{
	const struct slice_state *s = &c->slices[lslice];

	return lslice < c->slice_room && s->is_mapped && !s->is_leaving &&
	       s->run_most && s->free_most &&
	       s->used_blocks < cfs_metavolume_geometry(c->mv)->data_count;
}

/* One lap over all groups, from where the last one ended. */
static int scan(struct cfs_container *c, struct chosen *ch, struct cfs_err *err)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(c->mv);
	const uint64_t end = cfs_metavolume_end(c->mv);
	struct lender *l = c->lender;
	uint64_t groups = end * geo->group_count;

	if (l->scan_lslice >= end)
		l->scan_lslice = l->scan_group = 0;
	for (uint64_t i = 0; i < groups && ch->count < ch->room; i++) {
		int r = 0;

		if (may_have(c, l->scan_lslice))
			r = look_at(c, cfs_vaddr(l->scan_lslice, l->scan_group),
				    ch, err);
		if (r < 0)
			return r;
		if (++l->scan_group < geo->group_count)
			continue;
		l->scan_group = 0;
		l->scan_lslice = (l->scan_lslice + 1) % end;
	}
	return 0;
}

/* ---- lending ------------------------------------------------------------- */

/*
 * How many groups at once: free / (8 x writers), at least one.  What the pool
 * has to spare is free, too, for the container may grow for it: else one that
 * is nearly full lends single groups beside hundreds of empty slices.  While
 * the pool has plenty it may grow by an eighth of what it is.
 */
static uint32_t fair_count(struct cfs_container *c, uint32_t count)
{
	const bool has_plenty = c->source &&
				c->source->has_plenty(c->source_ctx);
	int64_t left = cfs_space_left(c) - (int64_t)cfs_space_reserve(c) -
		       (int64_t)cfs_space_lack(c);
	struct client_entry *e, *tmp;
	uint64_t writers = 0, most;

	HASH_ITER(hh, c->lender->clients, e, tmp)
		writers += e->rec.state == CFS_CLIENT_OPEN;
	most = left > 0 ? (uint64_t)left : 0;
	if (has_plenty)
		most = CFS_MAX(most, c->total_blocks);
	if (c->source && c->source->spare_blocks)
		most = CFS_MAX(most, c->source->spare_blocks(c->source_ctx));
	most /= 8 * CFS_MAX(writers, 1) * CFS_TAGS_PER_PAGE;
	return (uint32_t)CFS_MIN(count, CFS_MAX(most, has_plenty ? 4 : 1));
}

/* The container grows for it where it can; less will do. */
static void make_room(struct cfs_container *c, uint32_t count)
{
	for (uint64_t blocks = (uint64_t)count * CFS_TAGS_PER_PAGE * 17 / 16;
	     blocks > 0; blocks /= 4)
		if (cfs_space_ensure(c, blocks, CFS_OP_NORMAL, NULL) == 0)
			break;
}

static int choose(struct cfs_container *c, uint32_t count, struct chosen *ch,
		  struct cfs_err *err)
{
	int r;

	count = fair_count(c, count);
	make_room(c, count);
	ch->room = fair_count(c, count);
	ch->count = 0;
	ch->blocks = 0;
	memset(ch->lesser_count, 0, sizeof(ch->lesser_count));
	ch->blocks_left = cfs_space_left(c) - (int64_t)cfs_space_reserve(c) -
			  (int64_t)cfs_space_lack(c);
	if (c->limit_blocks)
		ch->blocks_left = CFS_MIN(ch->blocks_left,
					  (int64_t)c->limit_blocks -
						  (int64_t)c->used_blocks -
						  (int64_t)cfs_lend_claim(c));
	r = scan(c, ch, err);
	for (size_t i = 1; i < WISHES && r == 0 && !is_good_part(ch); i++)
		for (size_t k = 0; k < ch->lesser_count[i]; k++)
			take(ch, &ch->lesser[i][k]);
	return r;
}

/* The loans are durable before anybody is told. */
static int record(struct cfs_container *c, const struct client_entry *e,
		  const struct chosen *ch, uint64_t number, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep)
	struct cfs_client_loan_disk *disks = calloc(ch->count, sizeof(*disks));
	CFS_CLEANUP(cfs_freep)
	struct cfs_table_change *changes = calloc(ch->count, sizeof(*changes));
	const struct cfs_loan_rec loan = {
		.loan = number,
		.holder = e->id,
		.epoch = c->epoch,
		.state = CFS_LOAN_OPEN,
	};

	if (!disks || !changes)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < ch->count; i++) {
		cfs_client_loan_pack(&loan, ch->list[i].allowed, &disks[i]);
		changes[i] = (struct cfs_table_change){
			.key = cfs_space_loan_key(ch->list[i].key),
			.value = &disks[i],
			.value_bytes = sizeof(disks[i]),
		};
	}
	return cfs_container_put_now(c, changes, ch->count, err);
}

static int add_loan(const struct cfs_container *c, struct cfs_loans *loans,
		    const struct cfs_candidate *cand, uint64_t number)
{
	struct cfs_loan *loan;

	if (loans->count == loans->room) {
		size_t room = loans->room ? 2 * loans->room : 16;
		struct cfs_loan *more = realloc(loans->items,
						room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		loans->items = more;
		loans->room = room;
	}
	loan = &loans->items[loans->count++];
	*loan = (struct cfs_loan){
		.key = cand->key,
		.number = number,
		.allowed = { cand->allowed[0], cand->allowed[1] },
		.was_used = cand->was_used,
	};
	(void)cfs_metavolume_get(c->mv, cfs_vaddr_lslice(cand->key),
				 loan->pieces);
	return 0;
}

/* Those that were chosen, durably. */
static int lend_chosen(struct cfs_container *c, struct client_entry *e,
		       const struct chosen *ch, struct cfs_loans *loans,
		       struct cfs_err *err)
{
	const uint64_t number = c->next_loan++;
	int r = record(c, e, ch, number, err);

	for (size_t i = 0; i < ch->count && r == 0; i++) {
		struct lent_group *g;

		r = cfs_lend_group_new(c, ch->list[i].key, e->id,
				       ch->list[i].allowed, &g, err);
		if (r == 0)
			g->number = number;
		if (r == 0 && add_loan(c, loans, &ch->list[i], number) < 0)
			r = cfs_err_set(err, -ENOMEM, "out of memory");
	}
	return r;
}

static int lend_locked(struct cfs_container *c, struct client_entry *e,
		       uint32_t count, struct cfs_loans *loans,
		       struct chosen *ch, struct cfs_err *err)
{
	int r = cfs_container_ready(c, err);

	if (r == 0)
		r = choose(c, count, ch, err);
	/* What was freed comes back with the commits, and groups that we have
	 * open ourselves are given up. */
	for (unsigned int i = 0;
	     r == 0 && ch->count == 0 && i < 3 && (c->held_blocks || c->groups);
	     i++) {
		c->forces_commit = true;
		c->is_sealing = true;
		cfs_lend_forget_views(c, true);
		r = cfs_container_commit_locked(c, err);
		cfs_lend_forget_views(c, false);
		c->is_sealing = false;
		if (r == 0)
			r = choose(c, count, ch, err);
	}
	if (r == 0 && ch->count == 0)
		r = cfs_err_set(err, -ENOSPC, "no space left");
	return r != 0 ? r : lend_chosen(c, e, ch, loans, err);
}

int cfs_lend_more(struct cfs_container *c, struct client_entry *e,
		  uint32_t group_count, struct cfs_loans *loans,
		  struct cfs_err *err)
{
	const uint32_t count = CFS_MIN(group_count, CFS_LOANS_MAX);
	CFS_CLEANUP(chosen_done) struct chosen ch;
	int r = chosen_init(&ch, count, err);

	if (r == 0)
		r = cfs_container_ready(c, err);
	if (r == 0)
		r = choose(c, count, &ch, err);
	return r < 0 || ch.count == 0 ? r : lend_chosen(c, e, &ch, loans, err);
}

int cfs_container_lend(struct cfs_container *c, uint64_t client_id,
		       uint32_t group_count, struct cfs_loans *loans,
		       struct cfs_err *err)
{
	const uint32_t count = CFS_MIN(CFS_MAX(group_count, 1), CFS_LOANS_MAX);
	CFS_CLEANUP(chosen_done) struct chosen ch;
	struct client_entry *e;
	int r = chosen_init(&ch, count, err);

	if (r < 0)
		return r;
	cfs_container_lock_to_change(c);
	r = cfs_lend_must_be_open(c, client_id, &e, err);
	if (r == 0)
		r = lend_locked(c, e, count, loans, &ch, err);
	pthread_mutex_unlock(&c->lock);
	return r;
}

int cfs_container_loans(struct cfs_container *c, uint64_t client_id,
			struct cfs_loans *loans, struct cfs_err *err)
{
	struct client_entry *e;
	struct lent_group *g, *tmp;
	int r;

	pthread_mutex_lock(&c->lock);
	r = cfs_lend_must_be_open(c, client_id, &e, err);
	if (r == 0)
		CFS_LENT_EACH(c->lender, g, tmp) {
			const struct cfs_candidate cand = {
				.key = g->key,
				.allowed = { g->allowed[0], g->allowed[1] },
				.was_used = true,
			};

			if (r == 0 && g->client_id == client_id &&
			    add_loan(c, loans, &cand, g->number) < 0)
				r = cfs_err_set(err, -ENOMEM, "out of memory");
		}
	pthread_mutex_unlock(&c->lock);
	return r;
}

/* ---- inode numbers ------------------------------------------------------- */

int cfs_container_lend_inos(struct cfs_container *c, uint64_t client_id,
			    uint32_t count, uint64_t *ret_first,
			    uint64_t *ret_end, struct cfs_err *err)
{
	struct ino_range range;
	struct client_entry *e;
	int r;

	count = CFS_MIN(CFS_MAX(count, 1), INOS_MAX);
	cfs_container_lock_to_change(c);
	r = cfs_lend_must_be_open(c, client_id, &e, err);
	/* A root must promise them, or they would be handed out again. */
	if (r == 0 && c->next_ino + count > c->root.next_ino) {
		c->ino_ahead = CFS_MAX(c->ino_ahead, 2 * count);
		c->forces_commit = true;
		r = cfs_container_commit_locked(c, err);
	}
	if (r == 0 && c->next_ino + count > CFS_INO_MAX)
		r = cfs_err_set(err, -ENOSPC, "no inode numbers left");
	if (r == 0) {
		range.first = c->next_ino;
		range.end = c->next_ino + count;
		if (cfs_vec_push(&e->inos, range) < 0)
			r = cfs_err_set(err, -ENOMEM, "out of memory");
	}
	if (r == 0) {
		c->next_ino = range.end;
		*ret_first = range.first;
		*ret_end = range.end;
	}
	pthread_mutex_unlock(&c->lock);
	return r;
}
