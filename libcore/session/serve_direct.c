/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who reads and writes beside us: the table, and coming and going. */
#include "session/serve_direct_priv.h"

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "ondisk/receive.h"
#include "session/serve_lease.h"
#include "session/serve_run_priv.h"
#include "volume/stream.h"
#include "volume/volume.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define USES_MAX          1024u              /* of one client */
#define WAIT_MS_MAX       UINT64_C(86400000) /* then asked anew */
#define READER_LOG_BLOCKS 32u                /* which it never writes */

uint64_t beside_now(void)
{
	return cfs_clock_elapsed_ns(cfs_clock_system());
}

/* ---- the table ----------------------------------------------------------- */

struct beside_client *beside_client_find(struct cfs_serve_direct *sd,
					 uint64_t id)
{
	struct beside_client *c;

	for (c = sd->clients; c && c->id != id; c = c->next)
		;
	return c;
}

struct beside_client *beside_client_add(struct cfs_serve_direct *sd,
					uint64_t id)
{
	struct beside_client *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->id = id;
	c->actor.id = c;
	c->look_ns = UINT64_MAX;
	pthread_mutex_init(&c->opening, NULL);
	c->next = sd->clients;
	sd->clients = c;
	return c;
}

static void client_free(struct cfs_serve_direct *sd, struct beside_client *c)
{
	struct beside_client **at;

	for (at = &sd->clients; *at != c; at = &(*at)->next)
		;
	*at = c->next;
	pthread_mutex_destroy(&c->opening);
	free(c);
}

void beside_client_put(struct cfs_serve_direct *sd, struct beside_client *c)
{
	if (--c->users == 0 && sd->moving)
		pthread_cond_broadcast(&sd->changed);
	if (c->users == 0 && c->has_ended && !c->members && !c->uses)
		client_free(sd, c);
}

struct beside_member *beside_member_add(struct cfs_serve_direct *sd,
					struct beside_client *c,
					struct cfs_member *m, uint64_t id)
{
	struct beside_member *dm = calloc(1, sizeof(*dm));

	(void)sd;
	if (!dm)
		return NULL;
	dm->m = m;
	dm->id = id;
	pthread_mutex_init(&dm->busy, NULL);
	dm->next = c->members;
	c->members = dm;
	__atomic_add_fetch(&sd->active, 1, __ATOMIC_SEQ_CST);
	return dm;
}

struct beside_member *beside_member_find(struct beside_client *c,
					 uint64_t container, uint64_t id)
{
	struct beside_member *dm;

	for (dm = c->members; dm; dm = dm->next)
		if (dm->m->id == container && (!id || dm->id == id) &&
		    (id || !dm->is_sealed))
			break;
	return dm;
}

void beside_member_put(struct beside_member *dm)
{
	if (--dm->users > 0 || !dm->is_dropped)
		return;
	free(dm->staged);
	pthread_mutex_destroy(&dm->busy);
	free(dm);
}

void beside_member_drop(struct cfs_serve_direct *sd, struct beside_client *c,
			struct beside_member *dm)
{
	struct beside_member **at;

	for (at = &c->members; *at != dm; at = &(*at)->next)
		;
	*at = dm->next;
	sd->staged_bytes -= dm->staged ? dm->staged_total : 0;
	dm->is_dropped = true;
	dm->users++;
	beside_member_put(dm);
	__atomic_sub_fetch(&sd->active, 1, __ATOMIC_SEQ_CST);
	pthread_cond_broadcast(&sd->changed);
}

bool cfs_serve_direct_is_back(struct cfs_serve_direct *sd, uint64_t client)
{
	const struct beside_client *c;
	bool is;

	if (!sd)
		return true;
	pthread_mutex_lock(&sd->mutex);
	c = beside_client_find(sd, client);
	is = !c || !c->members || c->is_back;
	pthread_mutex_unlock(&sd->mutex);
	return is;
}

bool cfs_serve_direct_has_clients(struct cfs_serve_direct *sd)
{
	return sd && __atomic_load_n(&sd->active, __ATOMIC_SEQ_CST) > 0;
}

/* ---- who asks ------------------------------------------------------------ */

static void name_actor(struct beside_client *c, const struct cfs_link_peer *p)
{
	c->actor.pid = p && p->is_local ? p->pid : 0;
	if (p && p->is_local && p->pid)
		snprintf(c->actor.who, sizeof(c->actor.who),
			 "process %" PRIu32 " on this host", p->pid);
	else if (p && p->address[0])
		snprintf(c->actor.who, sizeof(c->actor.who), "%.255s",
			 p->address);
	else
		strcpy(c->actor.who, "another process");
}

static bool was_moved(struct cfs_serve_direct *sd,
		      const struct cfs_server_request *request)
{
	uint64_t client = 0;
	int r = cfs_owner_touch(cfs_serve_lock(sd->serve), request->peer,
				&client);

	cfs_serve_unlock_unchanged(sd->serve);
	return r == -ESHUTDOWN || r == -ENOTCONN;
}

/* Its entry, with one more user; made if it opens something. */
static int get_client(struct cfs_serve_direct *sd,
		      const struct cfs_server_request *request,
		      const struct cfs_direct_request *q, bool makes,
		      struct beside_client **ret, struct cfs_err *err)
{
	struct beside_client *c;

	if (request->client == 0)
		return cfs_err_set(err, -EPERM, "only for clients");
	pthread_mutex_lock(&sd->mutex);
	c = beside_client_find(sd, request->client);
	if (beside_is_moving(sd, c, q->container) || (makes && sd->moving)) {
		pthread_mutex_unlock(&sd->mutex);
		return cfs_err_set(err, -ESHUTDOWN,
				   "the container is being "
				   "given to another process");
	}
	if (!c && makes) {
		c = beside_client_add(sd, request->client);
		if (c)
			name_actor(c, request->identity);
	}
	if (c) {
		c->users++;
		c->peer = request->peer;
		c->is_lost = false;
	}
	pthread_mutex_unlock(&sd->mutex);
	if (!c && makes)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	/* It came before he was handed over, and is looked at behind that. */
	if (!c && was_moved(sd, request))
		return cfs_err_set(err, -ESHUTDOWN,
				   "the container was given "
				   "to another process");
	if (!c)
		return cfs_err_set(err, -ESTALE, "the client's log is closed");
	*ret = c;
	return 0;
}

static void put_client(struct cfs_serve_direct *sd, struct beside_client *c)
{
	pthread_mutex_lock(&sd->mutex);
	beside_client_put(sd, c);
	pthread_mutex_unlock(&sd->mutex);
}

/* Who it says it is, and under which lease it works; in the data of OPEN. */
static int take_identity(struct beside_client *c, uint64_t lease_id,
			 const struct cfs_direct_request *q,
			 struct cfs_err *err)
{
	struct cfs_client_identity who;
	struct cfs_msg_renew under;
	struct cfs_msg_hello hello;
	struct cfs_wire_get get;
	int r;

	cfs_wire_get_init(&get, q->data, q->data_bytes);
	r = cfs_msg_hello_unpack(&get, &hello, err);
	if (r == 0)
		r = cfs_msg_renew_unpack(&get, &under, err);
	if (r != 0)
		return r;
	memset(&who, 0, sizeof(who));
	beside_instance_set(who.instance, lease_id);
	memcpy(who.boot_id, hello.boot_id, sizeof(who.boot_id));
	memcpy(who.host, hello.host, sizeof(hello.host));
	who.pid = hello.pid;
	who.process_start = hello.process_start;
	c->who = who;
	c->actor.lender.lease_id = under.client_id;
	memcpy(c->actor.lender.secret, under.secret, sizeof(under.secret));
	return 0;
}

/* ---- opening ------------------------------------------------------------- */

struct opening {
	struct cfs_serve_direct *sd;
	struct beside_client *c;
	const struct cfs_direct_request *q;
	struct cfs_named named;
	struct beside_use *use;
	struct cfs_direct_opened o;
};

static int find_snapshot(struct opening *op, struct cfs_err *err)
{
	struct cfs_snapshot_rec rec;
	int r = cfs_snapshot_find(op->named.member, op->named.id, op->q->snap,
				  &op->o.stamp, &rec, err);

	if (r < 0)
		return r;
	op->o.branch = (uint16_t)rec.branch;
	op->o.size_bytes = rec.size_bytes;
	return 0;
}

static int find_checked(struct opening *op, struct cfs_err *err)
{
	struct cfs_pool_rec rec;
	int r = cfs_pool_rec_get(op->sd->s->pool, &rec, err);

	op->o.is_checked = r == 0 && (rec.config[CFS_POOL_CONFIG_CHECKED] ||
				      op->named.member->rec.flags &
					      CFS_CONTAINER_CHECKED);
	return r;
}

static int find_volume(struct opening *op, struct cfs_err *err)
{
	const struct cfs_direct_request *q = op->q;
	struct cfs_session *s = op->sd->s;
	struct cfs_receive_rec receiving;
	int r;

	if (q->volume_id) {
		r = cfs_pool_member_by_id(s->pool, q->container,
					  &op->named.member, err);
		op->named.id = q->volume_id;
	} else {
		r = cfs_session_find(s, q->volume, &op->named, err);
	}
	if (r == 0)
		r = cfs_volume_get(op->named.member, op->named.id,
				   &op->named.rec, err);
	if (r < 0)
		return r;
	op->o.container = op->named.member->id;
	memcpy(op->o.uuid, op->named.member->rec.uuid, sizeof(op->o.uuid));
	op->o.volume_id = op->named.id;
	op->o.kind = op->named.rec.kind;
	op->o.ino = op->named.rec.ino;
	op->o.branch = (uint16_t)op->named.rec.head_branch;
	op->o.size_bytes = op->named.rec.size_bytes;
	op->o.stamp = q->stamp;
	r = find_checked(op, err);
	if (r < 0)
		return r;
	if (q->snap[0] && !q->volume_id)
		return find_snapshot(op, err);
	/* What of a stream has come is nobody's to see: the other way shows
	 * what there was before. */
	if (!q->stamp && cfs_receive_get(op->named.member, op->named.id,
					 &receiving, NULL) == 0)
		return cfs_err_set(err, -EOPNOTSUPP,
				   "a stream is being "
				   "received into it");
	return 0;
}

static struct beside_use *find_use(struct beside_client *c, uint64_t number)
{
	struct beside_use *u;

	for (u = c->uses; u && u->number != number; u = u->next)
		;
	return u;
}

static bool has_use(struct opening *op, bool *ret_is_full)
{
	struct beside_use *u;
	size_t count = 0;
	bool has;

	pthread_mutex_lock(&op->sd->mutex);
	has = find_use(op->c, op->q->use);
	for (u = op->c->uses; u; u = u->next)
		count++;
	pthread_mutex_unlock(&op->sd->mutex);
	*ret_is_full = count >= USES_MAX;
	return has;
}

static bool is_in_grace(struct cfs_serve_direct *sd, uint64_t container)
{
	bool is = cfs_owner_is_in_grace_of(cfs_serve_lock(sd->serve),
					   container);

	cfs_serve_unlock(sd->serve);
	return is;
}

/* What of it the rules for a fold look at. */
static int describe_use(const struct opening *op, struct beside_use *u,
			struct cfs_err *err)
{
	u->number = op->q->use;
	u->container = op->o.container;
	u->volume = op->o.volume_id;
	u->ino = op->o.ino;
	u->stamp = op->o.stamp;
	u->branch = op->o.branch;
	u->writes = op->q->flags & CFS_DIRECT_WRITES;
	u->kind = op->o.kind;
	u->tree.container = op->named.member->container;
	if (u->kind != CFS_VOLUME_TREE)
		return 0;
	return beside_tree_number(op->sd, u->container, u->tree.container, err);
}

/* Behind its being among the uses: the job looks for it there. */
static void enter_later(struct opening *op)
{
	const struct beside_job job = {
		.kind = JOB_ENTER,
		.client = op->c->id,
		.lease = op->q->use,
	};

	beside_queue(op->sd, &job);
}

int beside_enter(struct cfs_serve_direct *sd, struct beside_client *c,
		 uint64_t number, struct cfs_err *err)
{
	struct cfs_use_of of = { .container = 0 };
	struct cfs_use *use = NULL;
	struct beside_use *u;
	int r;

	pthread_mutex_lock(&sd->mutex);
	u = find_use(c, number);
	if (u)
		of = (struct cfs_use_of){
			.container = u->container,
			.volume = u->volume,
			.stamp = u->stamp,
			.mode = u->writes ? CFS_USE_WRITE : CFS_USE_READ,
		};
	pthread_mutex_unlock(&sd->mutex);
	if (!u)
		return 0;
	cfs_serve_act_for(&c->actor);
	r = cfs_serve_volume_enter(sd->s, &of, &use, err);
	cfs_serve_act_for(NULL);
	if (r < 0)
		return r;
	cfs_serve_volume_lend(sd->s, use, c->id);
	pthread_mutex_lock(&sd->mutex);
	u = find_use(c, number);
	if (u && !u->use) {
		u->use = use;
		use = NULL;
	}
	pthread_mutex_unlock(&sd->mutex);
	cfs_serve_volume_leave(sd->s, use);
	return 0;
}

/*
 * What it opens is not removed under it; looked at again once that is so.
 *
 * One who comes back had it open before, so nobody has it alone; but its lease
 * on the volume is new to this manager, and waits until the grace is over.
 * That may end between the refusal and here: was_in_grace is of before it.
 */
static int enter_use(struct opening *op, struct cfs_err *err)
{
	const struct cfs_use_of of = {
		.container = op->o.container,
		.volume = op->o.volume_id,
		.stamp = op->o.stamp,
		.mode = op->q->flags & CFS_DIRECT_WRITES ? CFS_USE_WRITE
							 : CFS_USE_READ,
	};
	bool was_in_grace, is_full, is_later;
	struct beside_use *u;
	int r;

	if (has_use(op, &is_full))
		return 0;
	if (is_full)
		return cfs_err_set(err, -EMFILE, "too many open volumes");
	u = calloc(1, sizeof(*u));
	if (!u)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	was_in_grace = op->q->flags & CFS_DIRECT_AGAIN &&
		       is_in_grace(op->sd, op->o.container);
	r = cfs_serve_volume_enter(op->sd->s, &of, &u->use, err);
	if (r == 0)
		cfs_serve_volume_lend(op->sd->s, u->use, op->c->id);
	is_later = r == -EBUSY && was_in_grace;
	if (r == 0 || is_later)
		r = find_volume(op, err);
	if (r == 0)
		r = describe_use(op, u, err);
	if (r < 0) {
		cfs_serve_volume_leave(op->sd->s, u->use);
		free(u);
		return r;
	}
	pthread_mutex_lock(&op->sd->mutex);
	u->next = op->c->uses;
	op->c->uses = u;
	pthread_mutex_unlock(&op->sd->mutex);
	op->use = u;
	if (is_later)
		enter_later(op);
	return 0;
}

static void leave_use(struct cfs_serve_direct *sd, struct beside_client *c,
		      uint64_t number)
{
	struct beside_use **at, *u;

	pthread_mutex_lock(&sd->mutex);
	for (at = &c->uses; *at && (*at)->number != number; at = &(*at)->next)
		;
	u = *at;
	if (u)
		*at = u->next;
	pthread_mutex_unlock(&sd->mutex);
	if (!u)
		return;
	cfs_serve_volume_leave(sd->s, u->use);
	free(u);
}

/*
 * The first client of the container: from here on our own accesses take leases.
 * Those under way have ended when we go on, and a client is not made while a
 * snapshot is being taken.
 */
static int make_member(struct opening *op, struct cfs_err *err)
{
	const uint32_t log_blocks = op->q->flags & CFS_DIRECT_READS_ONLY
					    ? READER_LOG_BLOCKS
					    : 0;
	struct cfs_serve_direct *sd = op->sd;
	struct beside_member *dm;
	uint64_t id = 0;
	int r = 0;

	pthread_rwlock_wrlock(&sd->gate);
	pthread_mutex_lock(&sd->mutex);
	while (sd->is_holding && !sd->is_ending)
		pthread_cond_wait(&sd->changed, &sd->mutex);
	dm = beside_member_add(sd, op->c, op->named.member, 0);
	if (dm)
		dm->is_sealed = dm->is_new = true; /* not there yet */
	pthread_mutex_unlock(&sd->mutex);
	pthread_rwlock_unlock(&sd->gate);
	if (!dm)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	r = cfs_container_client_make(op->named.member->container, &op->c->who,
				      log_blocks, &id, &op->o.rec, err);
	pthread_mutex_lock(&sd->mutex);
	if (r < 0) {
		beside_member_drop(sd, op->c, dm);
	} else {
		dm->id = op->o.client = id;
		dm->is_sealed = false;
	}
	pthread_mutex_unlock(&sd->mutex);
	return r;
}

static int enter_container(struct opening *op, struct cfs_err *err)
{
	struct cfs_client_info info;
	struct beside_member *dm;
	uint64_t id = 0;
	int r;

	pthread_mutex_lock(&op->sd->mutex);
	dm = beside_member_find(op->c, op->o.container, 0);
	if (dm)
		id = dm->id;
	pthread_mutex_unlock(&op->sd->mutex);
	if (op->q->flags & CFS_DIRECT_AGAIN && id != op->q->client)
		return cfs_err_set(err, -ESTALE, "the client's log is closed");
	if (!id)
		return make_member(op, err);
	r = cfs_container_client_get(op->named.member->container, id, &info,
				     err);
	if (r < 0)
		return r;
	op->o.client = id;
	op->o.rec = info.rec;
	return 0;
}

static int open_steps(struct opening *op, struct cfs_err *err)
{
	int r = take_identity(op->c, op->c->id, op->q, err);

	if (r == 0)
		r = find_volume(op, err);
	if (r == 0)
		r = enter_use(op, err);
	if (r == 0)
		r = enter_container(op, err);
	if (r < 0 && op->use)
		leave_use(op->sd, op->c, op->q->use);
	return r;
}

static int try_open(void *arg, struct cfs_err *err)
{
	struct opening *op = arg;
	int r = 0;

	memset(&op->o, 0, sizeof(op->o));
	op->use = NULL;
	/* It may look at a container that is about to go. */
	pthread_mutex_lock(&op->sd->mutex);
	if (op->sd->moving)
		r = cfs_err_set(err, -ESHUTDOWN,
				"a container is being given "
				"to another process");
	else
		op->sd->opening++;
	pthread_mutex_unlock(&op->sd->mutex);
	if (r < 0)
		return r;
	pthread_mutex_lock(&op->c->opening);
	r = open_steps(op, err);
	pthread_mutex_unlock(&op->c->opening);
	pthread_mutex_lock(&op->sd->mutex);
	op->sd->opening--;
	pthread_cond_broadcast(&op->sd->changed);
	pthread_mutex_unlock(&op->sd->mutex);
	return r;
}

static int do_open(struct cfs_serve_direct *sd, struct beside_client *c,
		   const struct cfs_direct_request *q, struct cfs_buf *reply,
		   struct cfs_err *err)
{
	const struct cfs_conn_wait wait = {
		.timeout_ns = CFS_MIN(q->value, WAIT_MS_MAX) * CFS_NS_PER_MS,
	};
	struct opening op = { .sd = sd, .c = c, .q = q };
	int r;

	cfs_serve_act_for(&c->actor);
	r = cfs_serve_patiently(sd->s, &wait, try_open, &op, err);
	cfs_serve_act_for(NULL);
	if (r == 0 && cfs_direct_opened_pack(&op.o, reply) < 0) {
		leave_use(sd, c, q->use);
		r = cfs_err_set(err, -ENOMEM, "out of memory");
	}
	if (r == 0 && q->flags & CFS_DIRECT_IS_ALL) {
		pthread_mutex_lock(&sd->mutex);
		c->is_back = true;
		pthread_mutex_unlock(&sd->mutex);
	}
	return r;
}

/* Its log has what it has; it writes no more. */
static int do_close(struct cfs_serve_direct *sd, struct beside_client *c,
		    const struct cfs_direct_request *q, struct cfs_err *err)
{
	CFS_CLEANUP(beside_rules_donep)
	struct beside_rules rules = { .sd = NULL };
	const struct cfs_fold_rules fold_rules = { beside_may, &rules };
	struct beside_member *dm;
	struct cfs_member *m = NULL;
	int r;

	pthread_mutex_lock(&sd->mutex);
	dm = beside_member_find(c, q->container, q->client);
	if (dm && q->client)
		m = dm->m;
	pthread_mutex_unlock(&sd->mutex);
	if (!m)
		return 0;
	r = beside_rules_of(sd, c, q->container, &rules, err);
	if (r == 0)
		r = cfs_container_client_gone(m->container, q->client,
					      &fold_rules, err);
	if (r < 0 && r != -ENOENT)
		return r;
	pthread_mutex_lock(&sd->mutex);
	dm = beside_member_find(c, q->container, q->client);
	if (dm)
		beside_member_drop(sd, c, dm);
	pthread_mutex_unlock(&sd->mutex);
	return 0;
}

/* ---- requests ------------------------------------------------------------ */

static int serve(struct cfs_serve_direct *sd, struct beside_client *c,
		 const struct cfs_direct_request *q,
		 struct cfs_server_request *request, struct cfs_buf *reply,
		 struct cfs_err *err)
{
	switch (request->type) {
	case CFS_DIRECT_OPEN:
		return do_open(sd, c, q, reply, err);
	case CFS_DIRECT_LEAVE:
		leave_use(sd, c, q->use);
		return 0;
	case CFS_DIRECT_VIEW:
		return beside_view(sd, c, q, request, reply, err);
	case CFS_DIRECT_LEND:
		return beside_lend(sd, c, q, request, reply, err);
	case CFS_DIRECT_LEND_INOS:
		return beside_lend_inos(sd, c, q, reply, err);
	case CFS_DIRECT_STAGE:
		return beside_stage(sd, c, q, err);
	case CFS_DIRECT_FOLD:
		return beside_fold(sd, c, q, request, reply, err);
	case CFS_DIRECT_CLOSE:
		return do_close(sd, c, q, err);
	case CFS_DIRECT_HELD:
		return beside_held(sd, c, q, err);
	default:
		return cfs_err_set(err, -ENOTSUP, "request %#x is not known",
				   request->type);
	}
}

int cfs_serve_direct_request(void *arg, struct cfs_server_request *request,
			     struct cfs_buf *reply, struct cfs_err *err)
{
	struct cfs_serve_direct *sd = arg;
	struct cfs_err own = CFS_ERR_INIT;
	struct cfs_direct_request q;
	struct beside_client *c = NULL;
	int r;

	err = err ? err : &own;
	r = cfs_direct_request_unpack(request->body, request->body_bytes, &q,
				      err);
	if (r == 0)
		r = get_client(sd, request, &q,
			       request->type == CFS_DIRECT_OPEN, &c, err);
	if (r != 0)
		return r;
	cfs_serve_answer(request);
	r = serve(sd, c, &q, request, reply, err);
	/* It is the next manager's to say: the client goes there. */
	if (r < 0 && !cfs_serve_may_answer(sd->s))
		r = cfs_err_set(err, -ESHUTDOWN,
				"another host may have the "
				"pool");
	cfs_serve_answer(NULL);
	put_client(sd, c);
	return r;
}
