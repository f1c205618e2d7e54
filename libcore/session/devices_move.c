/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Evacuating, removing and replacing devices, and making a pool a mirror.
 *
 * Each step is durable before the next one begins, and each is found done by
 * who begins again:
 *
 *   evacuate  record: evacuating; slice by slice (volume/pool_move.h)
 *   remove    record: removed, and no records of its slices; seats of the
 *             others; their labels, which say that it is none of them; then
 *             its own labels are wiped
 *   replace   the new device is added; the old one evacuated; on a mirror each
 *             slice that has one place gets a second one; the old one removed
 *   mirror    each slice gets a second place; the labels say so
 *
 * A crash in remove leaves a device that the tables do not use and that labels
 * still name, or one that carries a label which the newest ones do not count:
 * it is left alone.
 */
#include "session/devices_move_priv.h"

#include "session/local.h"
#include "session/mover.h"
#include "session/serve_direct.h"
#include "pool/devset_exclude.h"

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the seat ------------------------------------------------------------ */

static int store_roots(void *arg,
		       const struct cfs_place roots[CFS_ROOT_PLACES_MAX],
		       struct cfs_err *err)
{
	struct cfs_session *s = arg;
	int r;

	pthread_mutex_lock(&s->seat_lock);
	memcpy(s->seat.roots, roots, sizeof(s->seat.roots));
	r = cfs_session_store_seat_locked(s, err);
	pthread_mutex_unlock(&s->seat_lock);
	return r;
}

static bool is_same_place(const struct cfs_place *a, const struct cfs_place *b)
{
	return a->is_used == b->is_used &&
	       (!a->is_used || (a->device_index == b->device_index &&
				a->slot_bytes[0] == b->slot_bytes[0] &&
				a->vaddr[0] == b->vaddr[0]));
}

int cfs_session_level_roots(struct cfs_session *s, struct cfs_err *err)
{
	struct cfs_place roots[CFS_ROOT_PLACES_MAX];
	bool is_level = true;

	if (!s->opt.is_writable || s->secondary || s->beside ||
	    cfs_devset_is_overlay(s->set) || cfs_holder_is_shared(s->holder))
		return 0;
	cfs_pool_roots(s->pool, roots);
	for (unsigned int i = 0; i < CFS_ROOT_PLACES_MAX; i++)
		is_level &= is_same_place(&roots[i], &s->seat.roots[i]);
	return is_level ? 0 : store_roots(s, roots, err);
}

/* ---- may it be done? ----------------------------------------------------- */

#define PAUSE_NS   (20 * CFS_NS_PER_MS)
#define BUSY_TRIES 5u

static bool has_stopped(const struct cfs_move *m)
{
	return m->calls->stop && m->calls->stop(m->calls->arg);
}

static void sleep_a_little(uint64_t ns)
{
	cfs_clock_sleep_until(cfs_clock_system(),
			      cfs_clock_elapsed_ns(cfs_clock_system()) + ns);
}

int cfs_move_allowed(struct cfs_session *s, struct cfs_err *err)
{
	int r = cfs_session_may_write(s, err);

	if (r < 0)
		return r;
	return s->beside_us && s->structure
		       ? cfs_pool_move_allowed_beside(s->pool, err)
		       : cfs_pool_move_allowed(s->pool, err);
}

void cfs_move_enter(void *arg)
{
	const struct cfs_move *m = arg;

	if (m->s->structure)
		pthread_rwlock_rdlock(m->s->structure);
}

void cfs_move_leave(void *arg)
{
	const struct cfs_move *m = arg;

	if (m->s->structure)
		pthread_rwlock_unlock(m->s->structure);
}

void cfs_move_enter_alone(const struct cfs_move *m)
{
	if (m->s->structure)
		pthread_rwlock_wrlock(m->s->structure);
}

int cfs_move_begin(struct cfs_move *m, struct cfs_err *err)
{
	while (pthread_mutex_trylock(&m->s->move_lock) != 0) {
		if (has_stopped(m))
			return cfs_err_set(err, -EINTR,
					   "stopped while slices are being "
					   "moved by somebody else");
		sleep_a_little(PAUSE_NS);
	}
	return 0;
}

void cfs_move_end(struct cfs_move *m)
{
	pthread_mutex_unlock(&m->s->move_lock);
}

static int on_store_roots(void *arg,
			  const struct cfs_place roots[CFS_ROOT_PLACES_MAX],
			  struct cfs_err *err)
{
	const struct cfs_move *m = arg;

	return store_roots(m->s, roots, err);
}

static bool on_stop(void *arg)
{
	return has_stopped(arg);
}

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
	const struct cfs_move *m = arg;
	const uint64_t bytes = cfs_devset_label(m->s->set, 0)->slice_bytes;

	pthread_mutex_lock(&m->s->lock);
	m->s->moving.done_slices = done / bytes;
	m->s->moving.total_slices = total / bytes;
	pthread_mutex_unlock(&m->s->lock);
	if (m->calls->progress)
		m->calls->progress(m->calls->arg, done, total);
}

static int on_hold(void *arg, struct cfs_member *member, struct cfs_err *err)
{
	const struct cfs_move *m = arg;

	return cfs_serve_direct_hold(m->s->beside_us, &member, 1,
				     m->calls->stop, m->calls->arg, err);
}

static void on_go_on(void *arg)
{
	const struct cfs_move *m = arg;

	cfs_serve_direct_go_on(m->s->beside_us);
}

static struct cfs_pool_move_options move_options(struct cfs_move *m)
{
	return (struct cfs_pool_move_options){
		.store_roots = on_store_roots,
		.stop = on_stop,
		.progress = on_progress,
		.hold = m->s->beside_us ? on_hold : NULL,
		.go_on = on_go_on,
		.enter = cfs_move_enter,
		.leave = cfs_move_leave,
		.arg = m,
	};
}

static void show(struct cfs_move *m, bool is_on, uint32_t device)
{
	pthread_mutex_lock(&m->s->lock);
	m->s->moving = (struct cfs_moving){ .is_on = is_on, .device = device };
	pthread_mutex_unlock(&m->s->lock);
}

static void add_result(struct cfs_move_result *ret,
		       const struct cfs_pool_move_result *moved)
{
	ret->moved_slices += moved->moved_slices;
	ret->moved_bytes += moved->moved_bytes;
	ret->left_slices = moved->left_slices;
	ret->damaged_blocks += moved->damaged_blocks;
}

int cfs_move_check_room(struct cfs_session *s, uint32_t device,
			uint64_t extra_slices, struct cfs_move_result *ret,
			struct cfs_err *err)
{
	struct cfs_pool_room room = { 0, 0 };
	int r = cfs_pool_move_room(s->pool, device, extra_slices, &room, err);

	ret->need_slices = room.need_slices;
	ret->need_bytes = room.need_slices *
			  cfs_devset_label(s->set, 0)->slice_bytes;
	ret->free_slices = room.free_slices;
	return r;
}

int cfs_move_find_device(struct cfs_session *s, const char *device,
			 uint32_t *ret_index, struct cfs_device_rec *ret,
			 struct cfs_err *err)
{
	int r = cfs_devset_find(s->set, device, ret_index, err);

	if (r == 0 && cfs_devset_is_removed(s->set, *ret_index))
		r = cfs_err_set(err, -ENOENT, "%s: not a device of this pool",
				device);
	return r < 0 ? r : cfs_pool_device_rec(s->pool, *ret_index, ret, err);
}

/* ---- evacuate ------------------------------------------------------------ */

/* Slices without live blocks go back instead of being moved. */
static int give_back_empty(struct cfs_session *s, struct cfs_err *err)
{
	struct cfs_trim_result trimmed;
	int r;

	/* A mirror's may all be on it. */
	r = cfs_local_trim(s, NULL, &trimmed, err);
	/* A container that cannot be opened has none to give. */
	return r == -EUCLEAN ? 0 : r;
}

int cfs_move_begin_evacuation(struct cfs_session *s, uint32_t index,
			      struct cfs_device_rec *rec, struct cfs_err *err)
{
	if (rec->state == CFS_DEVICE_EVACUATING)
		return 0;
	rec->state = CFS_DEVICE_EVACUATING;
	rec->cursor = 0;
	return cfs_pool_device_update(s->pool, index, rec, err);
}

/*
 * A client may be in the middle of something, or about to be sealed: what was
 * left is tried again.
 */
int cfs_move_off(struct cfs_move *m, uint32_t index,
		 struct cfs_move_result *ret, struct cfs_err *err)
{
	struct cfs_pool_move_options opt = move_options(m);
	unsigned int tries = 0;
	int r;

	show(m, true, index);
	do {
		struct cfs_pool_move_result moved = { 0 };

		if (tries)
			sleep_a_little(CFS_NS_PER_S);
		r = cfs_pool_evacuate(m->s->pool, index, &opt, &moved, err);
		add_result(ret, &moved);
	} while (r == -EBUSY && m->s->beside_us && ++tries < BUSY_TRIES);
	show(m, false, 0);
	return r;
}

int cfs_move_fill(struct cfs_move *m, struct cfs_move_result *ret,
		  struct cfs_err *err)
{
	struct cfs_pool_move_options opt = move_options(m);
	unsigned int tries = 0;
	int r;

	show(m, true, CFS_POOL_NO_DEVICE);
	do {
		struct cfs_pool_move_result moved = { 0 };

		if (tries)
			sleep_a_little(CFS_NS_PER_S);
		r = cfs_pool_fill_mirror(m->s->pool, &opt, &moved, err);
		add_result(ret, &moved);
	} while (r == -EBUSY && m->s->beside_us && ++tries < BUSY_TRIES);
	show(m, false, 0);
	return r;
}

static int evacuate_checked(struct cfs_move *m, const char *device,
			    uint32_t *ret_index, struct cfs_move_result *ret,
			    struct cfs_err *err)
{
	struct cfs_session *s = m->s;
	struct cfs_device_rec rec = { .state = CFS_DEVICE_OK };
	int r = cfs_move_allowed(s, err);

	*ret_index = CFS_POOL_NO_DEVICE;
	if (r == 0)
		r = cfs_move_find_device(s, device, ret_index, &rec, err);
	if (r == 0 && rec.state == CFS_DEVICE_REMOVED) {
		*ret_index = CFS_POOL_NO_DEVICE;
		return 0;
	}
	if (r == 0)
		r = give_back_empty(s, err);
	if (r == 0)
		r = cfs_move_check_room(s, *ret_index, 0, ret, err);
	return r < 0 || s->opt.is_dry_run
		       ? r
		       : cfs_move_begin_evacuation(s, *ret_index, &rec, err);
}

int cfs_local_evacuate(struct cfs_session *s,
		       const struct cfs_session_options *calls,
		       const char *device, struct cfs_move_result *ret,
		       struct cfs_err *err)
{
	struct cfs_move m = { .s = s, .calls = calls };
	uint32_t index;
	int r;

	memset(ret, 0, sizeof(*ret));
	if (!calls->in_background || !s->mover) {
		r = cfs_move_begin(&m, err);
		if (r < 0)
			return r;
	}
	cfs_move_enter_alone(&m);
	r = evacuate_checked(&m, device, &index, ret, err);
	cfs_move_leave(&m);
	if (calls->in_background && s->mover) {
		if (r == 0 && index != CFS_POOL_NO_DEVICE)
			cfs_mover_wake(s->mover, CFS_POOL_NO_DEVICE);
		return r;
	}
	if (r == 0 && index != CFS_POOL_NO_DEVICE && !s->opt.is_dry_run)
		r = cfs_move_off(&m, index, ret, err);
	cfs_move_end(&m);
	return r;
}

/* ---- remove -------------------------------------------------------------- */

/* How many there are beside @index. */
static uint32_t others(const struct cfs_session *s, uint32_t index)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < cfs_devset_count(s->set); i++)
		n += i != index && !cfs_devset_is_removed(s->set, i);
	return n;
}

int cfs_move_may_remove(const struct cfs_session *s, uint32_t index,
			struct cfs_err *err)
{
	const bool is_mirror = cfs_devset_label(s->set, 0)->flags &
			       CFS_POOL_FLAG_MIRROR;
	const uint32_t left = others(s, index);

	if (index >= CFS_LABEL_REMOVED_MAX)
		return cfs_err_set(err, -ERANGE,
				   "only the first %u devices of "
				   "a pool can be taken out",
				   CFS_LABEL_REMOVED_MAX);
	if (left == 0)
		return cfs_err_set(err, -ERANGE, "is the pool's only device");
	if (is_mirror && left < 2)
		return cfs_err_set(err, -ERANGE,
				   "a mirror has two devices at "
				   "least: replace it by another one");
	return 0;
}

/* It is not left out any more: there is no such device. */
static int forget_absent(struct cfs_session *s, uint32_t index,
			 struct cfs_err *err)
{
	struct cfs_place roots[CFS_ROOT_PLACES_MAX];
	uint32_t n = 0;
	int r;

	cfs_pool_roots(s->pool, roots);
	pthread_mutex_lock(&s->seat_lock);
	for (uint32_t i = 0; i < s->seat.absent_count; i++)
		if (s->seat.absent[i].device_index != index)
			s->seat.absent[n++] = s->seat.absent[i];
	s->seat.absent_count = n;
	memcpy(s->seat.roots, roots, sizeof(s->seat.roots));
	r = cfs_session_store_seat_locked(s, err);
	pthread_mutex_unlock(&s->seat_lock);
	return r;
}

/* Nobody is to take it for one of ours: its labels and its seat. */
static int wipe(struct cfs_session *s, uint32_t index, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) void *zeroes = cfs_dev_buf_alloc(CFS_PAGE_BYTES);
	const uint64_t size = cfs_devset_size_bytes(s->set, index);
	struct cfs_dev *dev = cfs_devset_dev(s->set, index);
	int r = 0;

	if (!zeroes)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	for (unsigned int copy = 0; r == 0 && copy < CFS_LABEL_COPIES; copy++)
		r = cfs_dev_write(dev, cfs_label_offset_bytes(copy, size),
				  zeroes, CFS_PAGE_BYTES, err);
	for (unsigned int slot = 0; r == 0 && slot < 2; slot++)
		r = cfs_dev_write(dev, cfs_seat_offset_bytes(0, slot), zeroes,
				  CFS_PAGE_BYTES, err);
	return r < 0 ? r : cfs_dev_flush(dev, err);
}

static void warn_not_wiped(struct cfs_session *s, uint32_t index,
			   const struct cfs_err *why)
{
	char line[CFS_ERR_BYTES];

	snprintf(line, sizeof(line),
		 "%s: is taken out of the pool, but its "
		 "label could not be wiped: %s",
		 cfs_devset_path(s->set, index), why->msg);
	if (s->opt.warn)
		s->opt.warn(s->opt.arg, line);
}

int cfs_move_take_out(struct cfs_session *s, uint32_t index, bool is_forced,
		      struct cfs_err *err)
{
	struct cfs_err why = CFS_ERR_INIT;
	struct cfs_dev *dev;
	int r = cfs_pool_device_remove(s->pool, index, is_forced, err);

	if (r == 0)
		r = cfs_devset_set_removed(s->set, index, err);
	if (r == 0)
		r = forget_absent(s, index, err);
	if (r == 0)
		r = cfs_devset_write_labels(s->set, err);
	if (r < 0)
		return r;
	/* A device that fails is out all the same. */
	if (cfs_devset_dev(s->set, index)) {
		if (wipe(s, index, &why) < 0)
			warn_not_wiped(s, index, &why);
		dev = cfs_devset_take(s->set, index);
		cfs_pool_wait_for_io(s->pool);
		cfs_dev_close(dev);
	}
	return 0;
}

int cfs_local_remove_device(struct cfs_session *s,
			    const struct cfs_session_options *calls,
			    const char *device, bool is_forced,
			    struct cfs_err *err)
{
	struct cfs_move m = { .s = s, .calls = calls };
	struct cfs_device_rec rec = { .state = CFS_DEVICE_OK };
	uint32_t index = 0;
	int r = cfs_move_begin(&m, err);

	if (r < 0)
		return r;
	cfs_move_enter_alone(&m);
	r = cfs_move_allowed(s, err);
	if (r == 0)
		r = cfs_move_find_device(s, device, &index, &rec, err);
	if (r == 0)
		r = cfs_move_may_remove(s, index, err);
	if (r == 0)
		r = cfs_move_take_out(s, index, is_forced, err);
	cfs_move_leave(&m);
	cfs_move_end(&m);
	return r;
}

/* ---- mirrors ------------------------------------------------------------- */

static int mirror_steps(struct cfs_move *m, struct cfs_move_result *ret,
			struct cfs_err *err)
{
	struct cfs_session *s = m->s;
	const bool is_mirror = cfs_devset_label(s->set, 0)->flags &
			       CFS_POOL_FLAG_MIRROR;
	int r = cfs_move_allowed(s, err);

	if (r == 0 && others(s, UINT32_MAX) < 2)
		r = cfs_err_set(err, -EINVAL,
				"a mirror needs two devices: "
				"add one");
	if (r == 0)
		r = cfs_move_check_room(s, CFS_POOL_NO_DEVICE, 0, ret, err);
	if (r < 0 || s->opt.is_dry_run)
		return r;
	r = cfs_move_fill(m, ret, err);
	if (r < 0 || is_mirror)
		return r;
	cfs_move_enter_alone(m);
	/* Seats on all of them, before one may be missing. */
	r = cfs_session_store_seat(s, err);
	if (r == 0) {
		cfs_devset_set_mirror(s->set);
		r = cfs_devset_write_labels(s->set, err);
	}
	cfs_move_leave(m);
	return r;
}

int cfs_local_make_mirror(struct cfs_session *s,
			  const struct cfs_session_options *calls,
			  struct cfs_move_result *ret, struct cfs_err *err)
{
	struct cfs_move m = { .s = s, .calls = calls };
	int r;

	memset(ret, 0, sizeof(*ret));
	r = cfs_move_begin(&m, err);
	if (r < 0)
		return r;
	r = mirror_steps(&m, ret, err);
	cfs_move_end(&m);
	return r;
}
