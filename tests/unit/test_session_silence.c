/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Requests to somebody who takes them and says nothing: they wait, look whether
 * another one has come, and end when that is so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "lease/conn.h"
#include "lease/server.h"
#include "lease_fixture.h"
#include "session/remote.h"
#include "session/rpc.h"
#include "session/silence.h"

#include <errno.h>
#include <string.h>

struct world {
	struct cfs_link *other; /* which nobody reads */
	struct cfs_remote *remote;
	unsigned int looks, old_at; /* 0: never */
	unsigned int stop_behind;   /* so many looks; 0: never */
};

static bool is_old(void *arg)
{
	struct world *w = arg;

	return ++w->looks == w->old_at;
}

static bool is_stopped(void *arg)
{
	struct world *w = arg;

	return w->stop_behind && w->looks >= w->stop_behind;
}

static void open_world(struct world *w, bool is_referred)
{
	const struct cfs_conn_options conn_opt = { .calls_max = 0 };
	const struct cfs_session_options opt = {
		.stop = is_stopped,
		.arg = w,
	};
	struct cfs_link *links[2];
	struct cfs_conn *conn;

	assert_int_equal(cfs_link_pair(links, NULL), 0);
	assert_int_equal(cfs_conn_new(links[0], &conn_opt, &conn, NULL), 0);
	assert_int_equal(cfs_remote_on(conn, &opt, &w->remote, NULL), 0);
	cfs_remote_watch(w->remote, is_old, w, is_referred);
	w->other = links[1];
}

static void close_world(struct world *w)
{
	cfs_remote_close(w->remote);
	cfs_link_free(w->other);
}

static int find(struct world *w, struct cfs_err *err)
{
	struct cfs_volume_place place;

	return cfs_remote_place_find(w->remote, "v", NULL, &place, err);
}

static void a_question_is_referred_when_another_has_come(void **state)
{
	struct world w = { .old_at = 2 };
	struct cfs_err err = CFS_ERR_INIT;

	(void)state;
	open_world(&w, true);
	assert_int_equal(find(&w, &err), -EREMOTE);
	assert_int_equal(w.looks, 2);
	/* It stays broken, and nobody looks again. */
	assert_int_equal(find(&w, &err), -EREMOTE);
	assert_true(cfs_remote_is_gone(w.remote));
	assert_int_equal(w.looks, 2);
	close_world(&w);
}

static void a_change_is_not_done_twice(void **state)
{
	struct world w = { .old_at = 1 };
	struct cfs_err err = CFS_ERR_INIT;

	(void)state;
	open_world(&w, true);
	assert_int_equal(cfs_remote_snap_hold(w.remote, "v", "s", true, &err),
			 -ECONNRESET);
	assert_non_null(strstr(err.msg, "whether it was done is not known"));
	close_world(&w);
}

static void nobody_is_behind_the_manager(void **state)
{
	struct world w = { .old_at = 1 };
	struct cfs_err err = CFS_ERR_INIT;

	(void)state;
	open_world(&w, false);
	assert_int_equal(find(&w, &err), -ECONNRESET);
	close_world(&w);
}

static void one_that_is_slow_is_waited_for(void **state)
{
	struct world w = { .stop_behind = 1, .old_at = 3 };
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_io_volume *v;

	(void)state;
	open_world(&w, true);
	/* Who only waits for a lease has nothing to be told, and ends at once;
	 * others are given time to answer. */
	assert_int_equal(
		cfs_remote_io_open(w.remote, "v", NULL, false, 0, 0, &v, &err),
		-EINTR);
	assert_int_equal(w.looks, 1);
	close_world(&w);
}

/* ---- a lease to work under ------------------------------------------------ */

static struct cfs_server *server;

static void on_hello(void *arg, uint64_t peer, const void *msg, size_t bytes)
{
	uint8_t answer[CFS_MSG_HEAD_BYTES];
	struct cfs_msg_head head;

	(void)arg;
	if (cfs_msg_head_unpack(msg, bytes, &head, NULL) < 0)
		return;
	make_msg(answer, CFS_MSG_HELLO | CFS_MSG_TYPE_REPLY, head.id, 0);
	if (cfs_server_send(server, peer, answer, sizeof(answer)) == 0)
		cfs_server_accept_peer(server, peer);
}

static void on_request(void *arg, uint64_t peer, const void *msg, size_t bytes)
{
	(void)peer;
	(void)msg;
	(void)bytes;
	__atomic_add_fetch((unsigned int *)arg, 1, __ATOMIC_SEQ_CST);
}

static int connect_under(const struct cfs_address *to, const char *lease,
			 struct cfs_err *err)
{
	static const uint8_t pool[16] = { 1, 2, 3, 4 };
	const struct cfs_session_options opt = { .lease = lease };
	char text[CFS_ADDRESS_TEXT_BYTES];
	struct cfs_remote *remote = NULL;
	int r;

	cfs_address_format(to, text);
	r = cfs_remote_connect(text, pool, &opt, 300, &remote, err);
	if (r == 0)
		cfs_remote_close(remote);
	return r;
}

/*
 * A holder says hello, and then nothing to the word under which lease one
 * works: as one that does not answer, it may be asked again.  What is no lease,
 * or one of another pool, it is not told.
 */
static void the_word_of_a_lease_is_not_waited_for(void **state)
{
	const struct cfs_server_options opt = { .peers_max = 0 };
	struct cfs_address address = { .kind = CFS_ADDRESS_UNIX };
	const struct cfs_lease_name name = { .client_id = 1, .lease_id = 2 };
	char text[CFS_LEASE_NAME_BYTES], other[CFS_LEASE_NAME_BYTES + 64];
	struct cfs_err err = CFS_ERR_INIT;
	unsigned int asked = 0;

	(void)state;
	(void)fixture_setup(NULL);
	snprintf(address.path, sizeof(address.path), "%s/s", fixture_dir);
	assert_int_equal(cfs_server_new(&opt, &server, &err), 0);
	assert_int_equal(cfs_server_handle_loop(server, CFS_MSG_HELLO,
						CFS_MSG_HELLO, on_hello, NULL,
						&err),
			 0);
	assert_int_equal(cfs_server_handle_loop(server, CFS_RPC_TYPE_FIRST,
						CFS_RPC_TYPE_LAST, on_request,
						&asked, &err),
			 0);
	assert_int_equal(cfs_server_listen(server, &address, NULL, NULL, &err),
			 0);
	assert_int_equal(cfs_server_start(server, &err), 0);
	cfs_lease_name_format(&name, text);
	snprintf(other, sizeof(other), "%s@%s", text,
		 "00000000-1111-2222-3333-444444444444");
	assert_int_equal(connect_under(&address, other, &err), 0);
	assert_int_equal(connect_under(&address, "nonsense", &err), -EINVAL);
	assert_int_equal(__atomic_load_n(&asked, __ATOMIC_SEQ_CST), 0);
	assert_int_equal(connect_under(&address, text, &err), -EBUSY);
	assert_int_equal(__atomic_load_n(&asked, __ATOMIC_SEQ_CST), 1);
	cfs_server_stop(server, 0);
	cfs_server_free(server);
	assert_int_equal(fixture_teardown(NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_question_is_referred_when_another_has_come),
		cmocka_unit_test(a_change_is_not_done_twice),
		cmocka_unit_test(nobody_is_behind_the_manager),
		cmocka_unit_test(one_that_is_slow_is_waited_for),
		cmocka_unit_test(the_word_of_a_lease_is_not_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
