/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a client does, and the manager for itself: accesses under leases, each
 * of which goes into the history of its register.
 */
#pragma once

#include "whole_net.h"

/* Once more where an old view was met. */
#define AGAIN(c, ret, expr)                                                    \
	do {                                                                   \
		int n_ = 0;                                                    \
                                                                               \
		do                                                             \
			ret = (expr);                                          \
		while (ret == -EAGAIN && n_++ < 8 &&                           \
		       cfs_container_client_again(c, ret, &why) == 1);         \
	} while (0)

static struct cfs_err why; /* the last failure */

/* ---- histories ---------------------------------------------------------- */

static size_t write_begins(struct actor *a, unsigned int reg, uint64_t value)
{
	struct whole *w = a->w;

	MUST(w->sim, a->dirty_count < DIRTY_MAX, "too much is dirty");
	a->is_unfolded = true;
	a->dirty[a->dirty_count] = (struct dirty){
		.reg = reg,
		.value = value,
		.at = sim_history_begin(&w->histories[reg], w->sim->now_ns,
					true, value, a->who),
	};
	return a->dirty[a->dirty_count++].at;
}

/* It was not done, and is known not to have been. */
static void write_failed(struct actor *a)
{
	const struct dirty *d = &a->dirty[--a->dirty_count];

	/* It stays in the history, and never happened. */
	say(a->w, "%s: %llu is not written", a->name,
	    (unsigned long long)d->value);
}

static const struct dirty *own_of(const struct actor *a, unsigned int reg)
{
	for (unsigned int i = a->dirty_count; i-- > 0;)
		if (a->dirty[i].reg == reg)
			return &a->dirty[i];
	return NULL;
}

/* What was written before in that container is durable. */
static void acknowledged(struct actor *a, bool is_tree, unsigned int before)
{
	struct whole *w = a->w;
	unsigned int kept = 0;

	for (unsigned int i = 0; i < a->dirty_count; i++) {
		const struct dirty d = a->dirty[i];

		if (i < before && (d.reg >= LUN_REGS) == is_tree)
			sim_history_end(&w->histories[d.reg], d.at,
					w->sim->now_ns, d.value);
		else
			a->dirty[kept++] = d;
	}
	a->dirty_count = kept;
}

static bool actor_may(const struct actor *a)
{
	return !a->p->is_dead && !a->is_lost;
}

static bool token_holds(const struct actor *a, const struct token *t)
{
	return actor_may(a) && t->lease &&
	       cfs_lease_state_of(t->lease) == CFS_LEASE_HELD &&
	       cfs_lease_client_still_holds(t->lease);
}

/* Its leases with what was written under them: as cfs_direct_locks_hold. */
static bool actor_holds(const struct actor *a)
{
	if (!actor_may(a) || !cfs_lease_client_is_alive(a->lc))
		return false;
	for (unsigned int i = 0; i < TOKENS; i++)
		if (a->tokens[i].lease &&
		    cfs_lease_state_of(a->tokens[i].lease) != CFS_LEASE_ASKED &&
		    !token_holds(a, &a->tokens[i]))
			return false;
	return true;
}

/* ---- the LUN ------------------------------------------------------------ */

static int lun_read_reg(struct cfs_container *c, uint16_t branch,
			uint64_t stamp, uint64_t ino, unsigned int reg,
			uint64_t *ret)
{
	static uint8_t bufs[8][PART_BLOCKS * HEAL_BLOCK];
	static unsigned int next;
	uint8_t *buf = bufs[next++ % 8]; /* others read meanwhile */
	const struct cfs_view view = { c, branch, stamp };
	unsigned int first, n;
	uint64_t value = 0, v;
	int r;

	reg_blocks(reg, &first, &n);
	cfs_container_lock(c);
	r = cfs_data_read(&view, ino, (uint64_t)first * HEAL_BLOCK, buf,
			  (size_t)n * HEAL_BLOCK, NULL, &why);
	cfs_container_unlock(c);
	for (unsigned int i = 0; r == 0 && i < n; i++) {
		if (!decode(buf + (size_t)i * HEAL_BLOCK, HEAL_BLOCK, first + i,
			    &v))
			return -EBADMSG;
		if (i && v != value)
			return -EILSEQ;
		value = v;
	}
	*ret = value;
	return r;
}

static int lun_write_reg(struct actor *a, unsigned int reg, uint64_t value)
{
	struct cfs_container *c = a->lun->container;
	unsigned int first, n;
	uint8_t *buf;
	int r;

	reg_blocks(reg, &first, &n);
	buf = malloc((size_t)n * HEAL_BLOCK);
	assert_non_null(buf);
	for (unsigned int i = 0; i < n; i++)
		fill(buf + (size_t)i * HEAL_BLOCK, HEAL_BLOCK, value,
		     first + i);
	r = cfs_op_begin(c, CFS_OP_NORMAL, &why);
	if (r == 0) {
		r = cfs_data_write(c, a->branch, a->w->lun_ino,
				   (uint64_t)first * HEAL_BLOCK, buf,
				   (size_t)n * HEAL_BLOCK, &why);
		if (r < 0)
			cfs_op_abort(c);
		else
			cfs_op_end(c);
	}
	free(buf);
	return r;
}

/* ---- directories -------------------------------------------------------- */

static void name_of(unsigned int i, char ret[4])
{
	(void)snprintf(ret, 4, "f%u", i);
}

/* -EBADMSG: a content that nobody wrote. */
static int file_read(struct cfs_fs *fs, uint64_t dir, unsigned int name,
		     struct file_state *ret, uint64_t *ret_newest)
{
	uint8_t buf[CHUNKS * CHUNK_BYTES + 1];
	struct cfs_inode inode;
	char text[4];
	size_t got = 0;
	uint64_t ino;
	int r;

	memset(ret, 0, sizeof(*ret));
	name_of(name, text);
	r = cfs_fs_lookup(fs, dir, text, strlen(text), &ino, &inode, &why);
	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = cfs_fs_read(fs, ino, 0, buf, sizeof(buf), &got, &why);
	if (r < 0)
		return r;
	if (got != inode.size_bytes || got % CHUNK_BYTES ||
	    got > CHUNKS * (size_t)CHUNK_BYTES)
		return -EBADMSG;
	ret->exists = true;
	ret->count = (uint32_t)(got / CHUNK_BYTES);
	for (uint32_t i = 0; i < ret->count; i++)
		if (!decode(buf + i * CHUNK_BYTES, CHUNK_BYTES, 7,
			    &ret->chunks[i]))
			return -EBADMSG;
	*ret_newest = CFS_MAX(*ret_newest, (uint64_t)inode.mtime_ns);
	return 0;
}

static int dir_read(struct cfs_fs *fs, uint64_t dir,
		    struct file_state files[NAMES], uint64_t *ret_value)
{
	struct cfs_inode inode;
	int r = cfs_fs_getattr(fs, dir, &inode, &why);
	uint64_t newest = r < 0 ? 0 : (uint64_t)inode.mtime_ns;

	for (unsigned int i = 0; i < NAMES && r == 0; i++)
		r = file_read(fs, dir, i, &files[i], &newest);
	*ret_value = newest > BORN_NS ? newest : 0;
	return r;
}

static void tell_dir(struct whole *w, const struct file_state files[NAMES])
{
	for (unsigned int i = 0; i < NAMES; i++)
		if (files[i].exists)
			say(w, "f%u: %u chunks, %llu %llu %llu %llu", i,
			    files[i].count,
			    (unsigned long long)files[i].chunks[0],
			    (unsigned long long)files[i].chunks[1],
			    (unsigned long long)files[i].chunks[2],
			    (unsigned long long)files[i].chunks[3]);
}

/* Is that what the write of that number left? */
static void judge_dir(struct whole *w, unsigned int dir, uint64_t value,
		      const struct file_state files[NAMES], const char *who)
{
	static const struct file_state none[NAMES];
	const struct dir_state *s = state_find(w, dir, value);
	const struct file_state *want = s ? s->files : none;

	MUST(w->sim, s || !value,
	     "%s: directory %u is of %llu, of which "
	     "nobody knows",
	     who, dir, (unsigned long long)value);
	/* All of them were zeroed before they were filled.
	 * NOLINTNEXTLINE(bugprone-suspicious-memory-comparison) */
	if (memcmp(want, files, sizeof(none)) == 0)
		return;
	tell_dir(w, want);
	say(w, "but:");
	tell_dir(w, files);
	MUST(w->sim, false, "%s: directory %u is not as %llu left it", who, dir,
	     (unsigned long long)value);
}

/*
 * @value was seen in a directory by somebody else than who wrote it: if that
 * was a rename, its other half has been, too.
 */
static void judge_other_half(struct whole *w, unsigned int dir, uint64_t value)
{
	const struct dir_state *s = state_find(w, dir, value);
	struct sim_history *h = &w->histories[LUN_REGS + !dir];

	if (s && s->has_other && h->all[s->other].end_ns == UINT64_MAX)
		h->all[s->other].end_ns = w->sim->now_ns;
}

/* ---- reading under a lease ---------------------------------------------- */

static void reg_read(struct actor *a, struct token *t, unsigned int reg)
{
	struct whole *w = a->w;
	const struct dirty *own = own_of(a, reg);
	struct file_state files[NAMES];
	uint64_t value = 0;
	size_t at = 0;
	int r;

	if (!own)
		at = sim_history_begin(&w->histories[reg], w->sim->now_ns,
				       false, 0, a->who);
	if (reg < LUN_REGS)
		AGAIN(a->lun->container, r,
		      lun_read_reg(a->lun->container, a->branch, CFS_STAMP_HEAD,
				   w->lun_ino, reg, &value));
	else
		AGAIN(a->tree->container, r,
		      dir_read(a->fs, w->dir_inos[reg - LUN_REGS], files,
			       &value));
	if (!token_holds(a, t))
		return;
	MUST(w->sim,
	     r == 0 || r == -ESTALE || r == -EIO || r == -EAGAIN || r == -EROFS,
	     "%s cannot read %u: %d: %s", a->name, reg, r, why.msg);
	if (r < 0) {
		a->is_lost = true;
		return;
	}
	say(w, "%s reads %llu in %u%s", a->name, (unsigned long long)value, reg,
	    own ? ", its own" : "");
	if (reg >= LUN_REGS)
		judge_dir(w, reg - LUN_REGS, value, files, a->name);
	if (own) {
		MUST(w->sim, value == own->value,
		     "%s wrote %llu and reads "
		     "%llu in %u",
		     a->name, (unsigned long long)own->value,
		     (unsigned long long)value, reg);
		return;
	}
	count(w, reg < LUN_REGS ? COUNT_READ : COUNT_LOOK);
	sim_history_end(&w->histories[reg], at, w->sim->now_ns, value);
	if (reg >= LUN_REGS)
		judge_other_half(w, reg - LUN_REGS, value);
}

/* ---- changing a directory ----------------------------------------------- */

struct change {
	unsigned int kind, dir, to_dir, name, to_name;
	uint64_t value;
	struct file_state before[DIRS][NAMES], after[DIRS][NAMES];
};

enum { ADD, APPEND, TRUNCATE, REWRITE, UNLINK, RENAME, KINDS };

/* False: that cannot be done to what there is. */
static bool change_plan(struct sim *sim, struct change *ch)
{
	struct file_state *f = &ch->after[ch->dir][ch->name];
	struct file_state *to = &ch->after[ch->to_dir][ch->to_name];

	memcpy(ch->after, ch->before, sizeof(ch->after));
	switch (ch->kind) {
	case ADD:
		if (f->exists)
			return false;
		f->exists = true;
		return true;
	case APPEND:
		if (!f->exists || f->count == CHUNKS)
			return false;
		f->chunks[f->count++] = ch->value;
		return true;
	case TRUNCATE:
		if (!f->exists || !f->count)
			return false;
		f->count = (uint32_t)sim_below(sim, f->count);
		memset(&f->chunks[f->count], 0,
		       (CHUNKS - f->count) * sizeof(f->chunks[0]));
		return true;
	case REWRITE:
		if (!f->exists || !f->count)
			return false;
		f->chunks[sim_below(sim, f->count)] = ch->value;
		return true;
	case UNLINK:
		if (!f->exists)
			return false;
		memset(f, 0, sizeof(*f));
		return true;
	default:
		if (!f->exists || f == to)
			return false;
		*to = *f;
		memset(f, 0, sizeof(*f));
		return true;
	}
}

static int change_data(struct cfs_fs *fs, const struct change *ch, uint64_t ino)
{
	const struct file_state *f = &ch->after[ch->dir][ch->name];
	uint8_t buf[CHUNK_BYTES];
	size_t done;
	uint32_t i = 0;

	if (ch->kind == TRUNCATE)
		return cfs_fs_truncate(fs, ino,
				       f->count * (uint64_t)CHUNK_BYTES, &why);
	while (f->chunks[i] != ch->value)
		i++;
	fill(buf, sizeof(buf), ch->value, 7);
	return cfs_fs_write(fs, ino, i * (uint64_t)CHUNK_BYTES, buf,
			    sizeof(buf), &done, &why);
}

static int change_do(struct actor *a, const struct change *ch)
{
	const uint64_t dir = a->w->dir_inos[ch->dir];
	char name[4], to[4];
	uint64_t ino = 0;
	int r;

	name_of(ch->name, name);
	name_of(ch->to_name, to);
	a->clock.realtime_ns = ch->value;
	switch (ch->kind) {
	case ADD:
		return cfs_fs_create(a->fs, dir, name, strlen(name), 0644, 0, 0,
				     &ino, &why);
	case UNLINK:
		return cfs_fs_unlink(a->fs, dir, name, strlen(name), &why);
	case RENAME:
		return cfs_fs_rename(a->fs, dir, name, strlen(name),
				     a->w->dir_inos[ch->to_dir], to, strlen(to),
				     0, &why);
	default:
		r = cfs_fs_lookup(a->fs, dir, name, strlen(name), &ino, NULL,
				  &why);
		return r < 0 ? r : change_data(a->fs, ch, ino);
	}
}

static const struct token *token_on(const struct actor *a,
				    unsigned int resource)
{
	for (unsigned int i = 0; i < TOKENS; i++)
		if (token_holds(a, &a->tokens[i]) &&
		    (covers(a->tokens[i].resource) & covers(resource)))
			return &a->tokens[i];
	return NULL;
}

static bool may_change(const struct actor *a, unsigned int dir)
{
	const struct token *t = token_on(a, PARTS + dir);

	return t && cfs_lease_mode_of(t->lease) == CFS_LOCK_X &&
	       t->has_looked && !cfs_lease_is_recalled(t->lease, NULL);
}

static void change_begins(struct actor *a, const struct change *ch)
{
	const bool is_two = ch->kind == RENAME && ch->to_dir != ch->dir;
	size_t at[DIRS] = { 0 };

	for (unsigned int d = 0; d < DIRS; d++)
		if (d == ch->dir || (is_two && d == ch->to_dir)) {
			at[d] = write_begins(a, LUN_REGS + d, ch->value);
			state_add(a->w, d, ch->value, ch->after[d]);
		}
	for (unsigned int d = 0; d < DIRS && is_two; d++) {
		struct dir_state *s = state_find(a->w, d, ch->value);

		s->has_other = true;
		s->other = at[!d];
	}
}

/* 0, also if there is nothing to be done. */
static int dir_change(struct actor *a, unsigned int dir)
{
	struct whole *w = a->w;
	struct sim *sim = w->sim;
	struct change ch = {
		.kind = (unsigned int)sim_below(sim, KINDS),
		.dir = dir,
		.to_dir = (unsigned int)sim_below(sim, DIRS),
		.name = (unsigned int)sim_below(sim, NAMES),
		.to_name = (unsigned int)sim_below(sim, NAMES),
	};
	uint64_t value;
	int r = 0;

	if (may_change(a, 0) && may_change(a, 1) && sim_one_in(sim, 2)) {
		ch.kind = RENAME;
		ch.to_dir = !dir;
	}
	if (ch.kind != RENAME || !may_change(a, ch.to_dir))
		ch.to_dir = dir;
	for (unsigned int d = 0; d < DIRS && r == 0; d++)
		if (d == ch.dir || d == ch.to_dir)
			AGAIN(a->tree->container, r,
			      dir_read(a->fs, w->dir_inos[d], ch.before[d],
				       &value));
	/* It may be over in the middle. */
	if (r < 0 || !may_change(a, dir) || !may_change(a, ch.to_dir))
		return r == -EBADMSG ? 0 : r;
	ch.value = ++w->next_value + BORN_NS;
	if (!change_plan(sim, &ch))
		return 0;
	count(w, ch.to_dir != dir ? COUNT_RENAME : COUNT_NAME);
	say(w, "%s does %u to %u/f%u, %u/f%u: %llu", a->name, ch.kind, dir,
	    ch.name, ch.to_dir, ch.to_name, (unsigned long long)ch.value);
	change_begins(a, &ch);
	AGAIN(a->tree->container, r, change_do(a, &ch));
	if (r < 0)
		write_failed(a);
	if (r < 0 && ch.to_dir != dir)
		write_failed(a);
	return r;
}

/* ---- changing the LUN --------------------------------------------------- */

static int reg_write(struct actor *a, unsigned int reg)
{
	struct whole *w = a->w;
	const uint64_t value = ++w->next_value + BORN_NS;
	int r;

	if (reg >= LUN_REGS)
		return dir_change(a, reg - LUN_REGS);
	say(w, "%s writes %llu to %u", a->name, (unsigned long long)value, reg);
	count(w, reg % (SINGLES + 1) < SINGLES ? COUNT_WRITE : COUNT_RUN);
	write_begins(a, reg, value);
	AGAIN(a->lun->container, r, lun_write_reg(a, reg, value));
	if (r < 0)
		write_failed(a);
	return r;
}

/* ---- making durable ----------------------------------------------------- */

/* One container's, or (@folds) folded, which is known to all. */
static int actor_sync(struct actor *a, bool is_tree, bool folds)
{
	struct cfs_container *c = is_tree ? a->tree->container
					  : a->lun->container;
	const unsigned int before = a->dirty_count;
	int r;

	if (folds && a->is_boss)
		r = cfs_container_commit(c, &why);
	else if (folds)
		r = cfs_container_fold(c, &why);
	else
		r = cfs_container_sync(c, &why);
	count(a->w, folds ? COUNT_FOLD : COUNT_SYNC);
	if (r < 0 || a->p->is_dead)
		return r;
	say(a->w, "%s has %s %s", a->name, folds ? "folded" : "synced",
	    is_tree ? "the tree" : "the LUN");
	/* A client was promised it; a manager finds out for itself. */
	if (!a->is_lost || !a->is_boss)
		acknowledged(a, is_tree, before);
	return 0;
}

static int actor_settle(struct actor *a)
{
	int r = actor_sync(a, false, true);

	if (r == 0)
		r = actor_sync(a, true, true);
	if (r == 0)
		a->is_unfolded = false;
	return r;
}

/* ---- steps -------------------------------------------------------------- */

static int actor_refresh(struct actor *a, bool is_tree)
{
	struct cfs_volume_rec rec;
	int r = 0;

	if (!a->is_boss)
		r = cfs_container_refresh(
			is_tree ? a->tree->container : a->lun->container, &why);
	/* A refresh folds. */
	if (r == 0 && !a->is_boss && actor_may(a))
		acknowledged(a, is_tree, a->dirty_count);
	if (r == 0 && !is_tree)
		AGAIN(a->lun->container, r,
		      cfs_volume_get(a->lun, CFS_VOLUME_FIRST, &rec, &why));
	if (r == 0 && !is_tree)
		a->branch = (uint16_t)rec.head_branch;
	return r;
}

static void token_release(struct token *t)
{
	if (t->lease)
		cfs_lease_client_release(t->lease);
	t->lease = NULL;
}

static void actor_ask(struct actor *a, struct token *t)
{
	struct whole *w = a->w;
	struct cfs_lease_request req = {
		.key = (uint64_t)(t - a->tokens) + 1,
		.mode = sim_one_in(w->sim, 3) ? CFS_LOCK_S : CFS_LOCK_X,
		.flags = CFS_MSG_LOCK_WAIT | CFS_MSG_LOCK_RECALLABLE,
	};

	t->resource = (unsigned int)sim_below(
		w->sim, PARTS + (w->plan.has_trees ? DIRS : 0));
	/* Who has one directory may want to move files to the other. */
	for (unsigned int d = 0; d < DIRS; d++)
		if (may_change(a, d) && sim_one_in(w->sim, 2))
			t->resource = PARTS + !d;
	t->has_looked = false;
	t->left = 2 + (unsigned int)sim_below(w->sim, 12);
	resource_of(w, a, t->resource, &req.resource);
	if (cfs_lease_client_acquire(a->lc, &req, &t->lease, NULL) < 0)
		t->lease = NULL;
}

static int token_access(struct actor *a, struct token *t)
{
	struct whole *w = a->w;
	unsigned int reg;
	int r = 0;

	if (!t->has_looked) {
		count(w, COUNT_GRANT);
		r = actor_refresh(a, t->resource >= PARTS);
		t->has_looked = r == 0;
		return r;
	}
	if (!cfs_lease_client_may_start(t->lease, w->plan.access_ns))
		return 0;
	t->left--;
	do
		reg = (unsigned int)sim_below(w->sim, REGS);
	while (reg_resource(reg) != t->resource);
	if (cfs_lease_mode_of(t->lease) == CFS_LOCK_X &&
	    a->dirty_count + DIRS < DIRTY_MAX && !sim_one_in(w->sim, 3))
		return reg_write(a, reg);
	reg_read(a, t, reg);
	return 0;
}

/* Some in a row, as long as nobody else wants it. */
static int token_accesses(struct actor *a, struct token *t)
{
	unsigned int n = 1 + (unsigned int)sim_below(a->w->sim, 5);
	int r = 0;

	while (n-- && r == 0 && t->left && token_holds(a, t) &&
	       !cfs_lease_is_recalled(t->lease, NULL))
		r = token_access(a, t);
	if (r == 0 && a->dirty_count && actor_may(a) &&
	    sim_one_in(a->w->sim, 3))
		r = actor_sync(a, a->dirty[0].reg >= LUN_REGS, false);
	return r;
}

/* A step of one of its tokens; 0, or why it has failed. */
static int actor_step(struct actor *a)
{
	struct token *t = &a->tokens[sim_below(a->w->sim, TOKENS)];
	enum cfs_lease_state state;
	uint32_t wanted;

	if (!t->lease) {
		if (!sim_one_in(a->w->sim, 3))
			actor_ask(a, t);
		return 0;
	}
	state = cfs_lease_state_of(t->lease);
	if (state == CFS_LEASE_ASKED)
		return 0;
	if (state != CFS_LEASE_HELD) {
		token_release(t);
		return 0;
	}
	if (cfs_lease_is_recalled(t->lease, &wanted))
		return 0;
	if (t->left)
		return token_accesses(a, t);
	if (a->dirty_count && !sim_one_in(a->w->sim, 3))
		return actor_sync(a, sim_one_in(a->w->sim, 2),
				  sim_one_in(a->w->sim, 4));
	if (a->is_unfolded)
		return actor_settle(a);
	/* It is kept, or forgotten, by the lease client: as it likes. */
	token_release(t);
	return 0;
}

/* ---- recalls ------------------------------------------------------------ */

static void actor_recalled(void *arg, struct cfs_lease *lease,
			   uint64_t grant_id,
			   const struct cfs_lock_resource *resource,
			   uint32_t mode)
{
	struct actor *a = arg;

	(void)lease;
	(void)resource;
	(void)mode;
	count(a->w, COUNT_RECALL);
	for (unsigned int i = 0; i < a->recalled_count; i++)
		if (a->recalled[i] == grant_id)
			return;
	MUST(a->w->sim, a->recalled_count < 16, "more recalls than grants");
	a->recalled[a->recalled_count++] = grant_id;
}

/* What was written is folded, and what is wanted goes. */
static int actor_yield(struct actor *a)
{
	const unsigned int n = a->recalled_count;
	uint64_t grants[16];
	int r;

	memcpy(grants, a->recalled, sizeof(grants));
	r = actor_settle(a);
	if (r < 0 || !actor_may(a))
		return r;
	for (unsigned int i = 0; i < n; i++) {
		for (unsigned int k = 0; k < TOKENS; k++)
			if (a->tokens[k].lease &&
			    cfs_lease_grant_of(a->tokens[k].lease) == grants[i])
				token_release(&a->tokens[k]);
		cfs_lease_client_yield(a->lc, grants[i]);
	}
	a->recalled_count -= n;
	memmove(a->recalled, a->recalled + n,
		a->recalled_count * sizeof(a->recalled[0]));
	return 0;
}

/* Everything is lost: what was written under it may have been, or not. */
static void actor_lost(struct actor *a)
{
	for (unsigned int i = 0; i < TOKENS; i++)
		token_release(&a->tokens[i]);
	a->dirty_count = 0;
	a->recalled_count = 0;
	a->is_unfolded = false;
}
