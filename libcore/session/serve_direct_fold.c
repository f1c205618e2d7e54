/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Views, loans and folds of clients. */
#include "session/serve_direct_priv.h"

#include "base/cleanup.h"
#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RETURN_MS      300 /* others have to give back what they do not use */
/* What a fold of the largest size is packed to, at most. */
#define FOLD_BYTES_MAX (CFS_FOLD_BYTES_MAX + 8u * CFS_FOLD_RETURNS_MAX + 4096u)

/* Its container, to be put; -ESTALE: it has none of that number. */
static int find(struct cfs_serve_direct *sd, struct beside_client *c,
		const struct cfs_direct_request *q, struct beside_member **ret,
		struct cfs_err *err)
{
	struct beside_member *dm;

	pthread_mutex_lock(&sd->mutex);
	dm = q->client ? beside_member_find(c, q->container, q->client) : NULL;
	if (dm && dm->is_sealed)
		dm = NULL;
	if (dm)
		dm->users++;
	pthread_mutex_unlock(&sd->mutex);
	if (!dm)
		return cfs_err_set(err, -ESTALE, "the client's log is closed");
	*ret = dm;
	return 0;
}

static void put(struct cfs_serve_direct *sd, struct beside_member *dm)
{
	pthread_mutex_lock(&sd->mutex);
	beside_member_put(dm);
	pthread_mutex_unlock(&sd->mutex);
}

/* All but the last message goes ahead. */
static int answer(struct cfs_server_request *request, const struct cfs_buf *all,
		  struct cfs_buf *reply, struct cfs_err *err)
{
	size_t at = 0;
	int r = 0;

	while (r == 0 && all->bytes - at > CFS_MSG_BODY_MAX) {
		r = cfs_server_request_more(request, all->data + at,
					    CFS_MSG_BODY_MAX, err);
		at += CFS_MSG_BODY_MAX;
	}
	if (r == 0 &&
	    cfs_buf_append(reply, all->data + at, all->bytes - at) < 0)
		r = cfs_err_set(err, -ENOMEM, "out of memory");
	return r;
}

static int answer_view(struct cfs_server_request *request,
		       const struct cfs_client_view *view,
		       struct cfs_buf *reply, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf all = CFS_BUF_INIT;

	if (cfs_client_view_pack(view, &all) < 0)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	return answer(request, &all, reply, err);
}

/* While a snapshot is taken nobody gets a view, with which it would go on. */
int beside_view(struct cfs_serve_direct *sd, struct beside_client *c,
		const struct cfs_direct_request *q,
		struct cfs_server_request *request, struct cfs_buf *reply,
		struct cfs_err *err)
{
	CFS_CLEANUP(cfs_client_view_donep)
	struct cfs_client_view view = { .smap = NULL };
	struct beside_member *dm;
	int r = find(sd, c, q, &dm, err);

	if (r < 0)
		return r;
	if (!beside_may_look(sd, dm))
		r = cfs_err_set(err, -EAGAIN, "a snapshot is being taken");
	else
		r = cfs_container_view(dm->m->container, dm->id, q->value,
				       &view, err);
	put(sd, dm);
	return r < 0 ? r : answer_view(request, &view, reply, err);
}

/* ---- loans --------------------------------------------------------------- */

static void ask_others(struct cfs_serve_direct *sd,
		       const struct beside_client *but, uint64_t container)
{
	struct beside_client *c;

	pthread_mutex_lock(&sd->mutex);
	for (c = sd->clients; c; c = c->next)
		if (c != but && beside_member_find(c, container, 0))
			beside_notice(sd, c, CFS_DIRECT_RETURN, container, 0);
	pthread_mutex_unlock(&sd->mutex);
}

static bool has_others(struct cfs_serve_direct *sd,
		       const struct beside_client *but, uint64_t container)
{
	struct beside_client *c;

	pthread_mutex_lock(&sd->mutex);
	for (c = sd->clients; c; c = c->next)
		if (c != but && beside_member_find(c, container, 0))
			break;
	pthread_mutex_unlock(&sd->mutex);
	return c;
}

static int lend(struct cfs_serve_direct *sd, struct beside_client *c,
		struct beside_member *dm, uint32_t count,
		struct cfs_loans *loans, struct cfs_err *err)
{
	const struct timespec a_while = { 0, 50 * (long)CFS_NS_PER_MS };
	int r = cfs_container_lend(dm->m->container, dm->id, count, loans, err);

	if (r != -ENOSPC || !has_others(sd, c, dm->m->id))
		return r;
	ask_others(sd, c, dm->m->id);
	for (int i = 0; r == -ENOSPC && i < RETURN_MS / 50; i++) {
		nanosleep(&a_while, NULL);
		r = cfs_container_lend(dm->m->container, dm->id, count, loans,
				       err);
	}
	return r;
}

int beside_lend(struct cfs_serve_direct *sd, struct beside_client *c,
		const struct cfs_direct_request *q,
		struct cfs_server_request *request, struct cfs_buf *reply,
		struct cfs_err *err)
{
	CFS_CLEANUP(cfs_loans_donep) struct cfs_loans loans = { .count = 0 };
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf all = CFS_BUF_INIT;
	struct beside_member *dm;
	int r;

	if (q->value == 0 || q->value > CFS_LOANS_MAX)
		return cfs_err_set(err, -EINVAL, "too many groups");
	r = find(sd, c, q, &dm, err);
	if (r < 0)
		return r;
	r = lend(sd, c, dm, (uint32_t)q->value, &loans, err);
	put(sd, dm);
	if (r == 0 && cfs_loans_pack(&loans, &all) < 0)
		r = cfs_err_set(err, -ENOMEM, "out of memory");
	return r < 0 ? r : answer(request, &all, reply, err);
}

int beside_lend_inos(struct cfs_serve_direct *sd, struct beside_client *c,
		     const struct cfs_direct_request *q, struct cfs_buf *reply,
		     struct cfs_err *err)
{
	struct beside_member *dm;
	uint64_t first, end;
	le64 disk[2];
	int r;

	if (q->value == 0 || q->value > UINT16_MAX)
		return cfs_err_set(err, -EINVAL, "too many numbers");
	r = find(sd, c, q, &dm, err);
	if (r < 0)
		return r;
	r = cfs_container_lend_inos(dm->m->container, dm->id,
				    (uint32_t)q->value, &first, &end, err);
	put(sd, dm);
	if (r < 0)
		return r;
	disk[0] = le64_put(first);
	disk[1] = le64_put(end);
	return cfs_buf_append(reply, disk, sizeof(disk)) < 0
		       ? cfs_err_set(err, -ENOMEM, "out of memory")
		       : 0;
}

/* ---- folds --------------------------------------------------------------- */

static void forget_stage(struct cfs_serve_direct *sd, struct beside_member *dm)
{
	pthread_mutex_lock(&sd->mutex);
	sd->staged_bytes -= dm->staged ? dm->staged_total : 0;
	pthread_mutex_unlock(&sd->mutex);
	free(dm->staged);
	dm->staged = NULL;
}

/* A piece at 0 begins; whatever was there before was of another try. */
static int begin_stage(struct cfs_serve_direct *sd, struct beside_member *dm,
		       const struct cfs_direct_request *q, struct cfs_err *err)
{
	bool is_full;

	forget_stage(sd, dm);
	if (q->total == 0 || q->total > FOLD_BYTES_MAX)
		return cfs_err_set(err, -E2BIG, "too much for one fold");
	pthread_mutex_lock(&sd->mutex);
	is_full = sd->staged_bytes + q->total > SERVE_STAGED_BYTES_MAX;
	if (!is_full)
		sd->staged_bytes += q->total;
	pthread_mutex_unlock(&sd->mutex);
	if (is_full)
		return cfs_err_set(err, -EAGAIN, "too many folds at once");
	dm->staged = malloc(q->total);
	if (!dm->staged) {
		pthread_mutex_lock(&sd->mutex);
		sd->staged_bytes -= q->total;
		pthread_mutex_unlock(&sd->mutex);
		return cfs_err_set(err, -ENOMEM, "out of memory");
	}
	dm->staged_fold = q->value;
	dm->staged_total = q->total;
	dm->staged_bytes = 0;
	return 0;
}

int beside_stage(struct cfs_serve_direct *sd, struct beside_client *c,
		 const struct cfs_direct_request *q, struct cfs_err *err)
{
	struct beside_member *dm;
	int r = find(sd, c, q, &dm, err);

	if (r < 0)
		return r;
	pthread_mutex_lock(&dm->busy);
	if (q->offset == 0)
		r = begin_stage(sd, dm, q, err);
	/* A piece that came twice is not put twice. */
	if (r == 0 && (!dm->staged || dm->staged_fold != q->value ||
		       q->offset > dm->staged_bytes ||
		       q->data_bytes > dm->staged_total - q->offset))
		r = cfs_err_set(err, -ENODATA, "a piece that does not fit");
	if (r == 0 && q->data_bytes) {
		memcpy(dm->staged + q->offset, q->data, q->data_bytes);
		dm->staged_bytes = q->offset + q->data_bytes;
	}
	pthread_mutex_unlock(&dm->busy);
	put(sd, dm);
	return r;
}

static int take(struct cfs_serve_direct *sd, struct beside_client *c,
		struct beside_member *dm, const uint8_t *data, size_t bytes,
		struct cfs_client_view *ret, struct cfs_err *err)
{
	CFS_CLEANUP(beside_rules_donep)
	struct beside_rules rules = { .sd = NULL };
	const struct cfs_fold_rules fold_rules = { beside_may, &rules };
	CFS_CLEANUP(cfs_fold_donep) struct cfs_fold fold = { .owned = NULL };
	int r = cfs_fold_unpack(data, bytes, &fold, err);

	if (r == -EUCLEAN)
		return cfs_err_wrap(err, -EPROTO, "a fold");
	if (r == 0)
		r = beside_rules_of(sd, c, dm->m->id, &rules, err);
	if (r == 0)
		r = cfs_container_take_fold(dm->m->container, dm->id, &fold,
					    &fold_rules, ret, err);
	if (r == -EPERM)
		cfs_logger_printf(sd->logger, CFS_LOG_WARNING,
				  "what %s gave "
				  "back is refused: %s",
				  c->actor.who, err->msg);
	return r;
}

int beside_fold(struct cfs_serve_direct *sd, struct beside_client *c,
		const struct cfs_direct_request *q,
		struct cfs_server_request *request, struct cfs_buf *reply,
		struct cfs_err *err)
{
	CFS_CLEANUP(cfs_client_view_donep)
	struct cfs_client_view view = { .smap = NULL };
	struct beside_member *dm;
	int r = find(sd, c, q, &dm, err);

	if (r < 0)
		return r;
	pthread_mutex_lock(&dm->busy);
	if (q->data_bytes)
		r = take(sd, c, dm, q->data, q->data_bytes, &view, err);
	else if (dm->staged && dm->staged_fold == q->value &&
		 dm->staged_bytes == dm->staged_total)
		r = take(sd, c, dm, dm->staged, dm->staged_total, &view, err);
	else
		r = cfs_err_set(err, -ENODATA, "the fold did not come whole");
	if (r == 0)
		forget_stage(sd, dm);
	pthread_mutex_unlock(&dm->busy);
	put(sd, dm);
	return r < 0 ? r : answer_view(request, &view, reply, err);
}
