/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Clients that go to a secondary with its container and come home with it: what
 * the two lease tables tell each other of them (lease/hand.h).
 *
 * What went is kept until it is at home: a secondary that dies before it has
 * told its address has let nobody in, so that those, and no others, come back.
 */
#include "session/serve_delegate_priv.h"

#include "base/cleanup.h"
#include "base/uuid.h"
#include "session/serve_direct.h"
#include "session/serve_run_priv.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LEFT_BYTES_MAX (64u << 20)

uint64_t cfs_handed_space(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) == 0 ? (uint64_t)st.st_ino : 0;
}

void away_free(struct away *a)
{
	cfs_buf_donep(&a->given);
	cfs_buf_donep(&a->left);
	cfs_handed_list_donep(&a->awaited);
	free(a);
}

/* ---- going --------------------------------------------------------------- */

void away_give(struct cfs_serve_delegate *sd, uint64_t container,
	       uint32_t epoch, const struct cfs_handed_list *list)
{
	struct cfs_buf buf = CFS_BUF_INIT;
	struct away *a;

	if (cfs_handed_list_pack(list, &buf) < 0)
		buf.bytes = 0;
	pthread_mutex_lock(&sd->mutex);
	a = away_find(sd, container, epoch);
	if (a) {
		cfs_buf_donep(&a->given);
		a->given = buf;
		buf = (struct cfs_buf)CFS_BUF_INIT;
		a->is_going = false;
		pthread_cond_broadcast(&sd->changed);
	}
	pthread_mutex_unlock(&sd->mutex);
	cfs_buf_donep(&buf);
}

int away_clients(struct cfs_serve_delegate *sd, struct away *a,
		 struct cfs_server_request *request, struct cfs_buf *reply,
		 struct cfs_err *err)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;
	const struct cfs_handed_list none = { .is_all = false };
	int r;

	pthread_mutex_lock(&sd->mutex);
	while (a->is_going && !sd->is_ending)
		pthread_cond_wait(&sd->changed, &sd->mutex);
	/* Of a manager before us nobody knows any more who went. */
	r = a->given.bytes ? cfs_buf_append(&buf, a->given.data, a->given.bytes)
			   : cfs_handed_list_pack(&none, &buf);
	pthread_mutex_unlock(&sd->mutex);
	return r < 0 ? cfs_err_set(err, -ENOMEM, "out of memory")
		     : away_answer_parts(request, &buf, reply, err);
}

/* ---- coming -------------------------------------------------------------- */

/* With the mutex. */
static int take_piece(struct away *a, const struct cfs_delegate_request *q,
		      struct cfs_err *err)
{
	if (q->value == 0)
		a->left.bytes = 0;
	/* Again, after an answer that was lost. */
	if (q->value + q->data_bytes == a->left.bytes)
		return 0;
	if (q->value != a->left.bytes ||
	    q->data_bytes > LEFT_BYTES_MAX - a->left.bytes)
		return cfs_err_set(err, -EPROTO, "a piece that does not fit");
	return cfs_buf_append(&a->left, q->data, q->data_bytes) < 0
		       ? cfs_err_set(err, -ENOMEM, "out of memory")
		       : 0;
}

int away_left(struct cfs_serve_delegate *sd, struct away *a,
	      const struct cfs_delegate_request *q, struct cfs_err *err)
{
	int r;

	pthread_mutex_lock(&sd->mutex);
	r = take_piece(a, q, err);
	a->has_left = r == 0 && q->flags & CFS_DELEGATE_IS_LAST;
	pthread_mutex_unlock(&sd->mutex);
	return r;
}

/* The list of who comes back, in a->awaited; not all, if there is none. */
static void read_list(struct cfs_serve_delegate *sd, struct away *a)
{
	const struct cfs_buf *from = NULL;

	pthread_mutex_lock(&sd->mutex);
	if (a->has_left)
		from = &a->left;
	else if (!a->d.rec.address[0] && a->given.bytes)
		from = &a->given;
	cfs_handed_list_donep(&a->awaited);
	a->awaited = (struct cfs_handed_list){ .is_all = false };
	if (from)
		(void)cfs_handed_list_unpack(from->data, from->bytes,
					     &a->awaited, NULL);
	pthread_mutex_unlock(&sd->mutex);
}

void away_expect(struct cfs_serve_delegate *sd, struct away *a)
{
	struct cfs_owner *owner;
	int r;

	read_list(sd, a);
	owner = cfs_serve_lock(sd->serve);
	for (size_t i = 0; i < a->awaited.v.count; i++) {
		r = cfs_owner_take_handed(owner, a->d.container,
					  &a->awaited.v.items[i], NULL);
		/* One that has come already, or stands in a record. */
		if (r < 0 && r != -EEXIST)
			a->awaited.is_all = false;
	}
	cfs_serve_unlock(sd->serve);
}

static bool is_dead(const struct cfs_handed_list *list,
		    const struct cfs_handed *h)
{
	struct cfs_identity self;

	if (!h->is_seen || !list->space || list->space != cfs_handed_space())
		return false;
	memset(&self, 0, sizeof(self));
	cfs_identity_host.self(cfs_identity_host.arg, &self);
	return !cfs_uuid_is_null(self.boot_id) &&
	       cfs_uuid_is_equal(self.boot_id, h->known.boot_id) &&
	       !cfs_identity_host.is_alive(cfs_identity_host.arg, h->known.pid,
					   h->known.process_start);
}

/* Back, with all that it had open; or not to be waited for. */
static bool is_settled(struct cfs_serve_delegate *sd, struct cfs_owner *owner,
		       const struct cfs_handed_list *list,
		       const struct cfs_handed *h)
{
	const uint64_t id = h->known.client_id;

	if (h->hello_flags & CFS_HELLO_STANDING ||
	    !cfs_owner_has_client(owner, id))
		return true;
	if (cfs_owner_has_reclaimed(owner, id) &&
	    cfs_serve_direct_is_back(sd->s->beside_us, id))
		return true;
	if (is_dead(list, h))
		(void)cfs_owner_gone(owner, id);
	return !cfs_owner_has_client(owner, id);
}

bool away_are_settled(struct cfs_serve_delegate *sd, struct away *a)
{
	struct cfs_owner *owner;
	bool are = a->awaited.is_all;

	/* Who stands in a record has perhaps no lease at this moment. */
	if (!are ||
	    !cfs_serve_direct_are_back(sd->s->beside_us, a->d.container))
		return false;
	owner = cfs_serve_lock(sd->serve);
	for (size_t i = 0; i < a->awaited.v.count && are; i++)
		are = is_settled(sd, owner, &a->awaited,
				 &a->awaited.v.items[i]);
	are = are && !cfs_owner_is_awaiting(owner, a->d.container);
	cfs_serve_unlock(sd->serve);
	return are;
}
