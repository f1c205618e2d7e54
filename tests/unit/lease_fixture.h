/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the tests of links, servers and connections share: a directory, ends
 * of links, messages, certificates; and the count of open descriptors, which
 * must be at the end what it was at the beginning.
 */
#pragma once

#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lease/link.h"
#include "lease/msg.h"

static char fixture_dir[64];
static int fixture_fds;

static int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	if (!d)
		return -1;
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static inline int fixture_setup(void **state)
{
	(void)state;
	strcpy(fixture_dir, "/tmp/cfs-lease-XXXXXX");
	if (!mkdtemp(fixture_dir))
		return -1;
	fixture_fds = count_fds();
	return 0;
}

static inline int fixture_teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", fixture_dir);
	if (system(command) != 0)
		return -1;
	if (count_fds() != fixture_fds) {
		fprintf(stderr,
			"%d descriptors at the beginning, %d at the "
			"end\n",
			fixture_fds, count_fds());
		return -1;
	}
	return 0;
}

/* A message with a body that its id makes.  Returns its length. */
static inline size_t make_msg(uint8_t *msg, uint16_t type, uint64_t id,
			      size_t body_bytes)
{
	const struct cfs_msg_head_disk head = {
		.magic = le32_put(CFS_MSG_MAGIC),
		.version = le16_put(CFS_MSG_VERSION),
		.type = le16_put(type),
		.bytes = le32_put((uint32_t)(sizeof(head) + body_bytes)),
		.id = le64_put(id),
	};
	size_t i;

	memcpy(msg, &head, sizeof(head));
	for (i = 0; i < body_bytes; i++)
		msg[sizeof(head) + i] = (uint8_t)(i * 31 + id);
	return sizeof(head) + body_bytes;
}

struct fixture_call {
	const struct cfs_address *address;
	struct cfs_tls *tls;
	struct cfs_link *link;
	int r;
};

static inline void *fixture_caller(void *arg)
{
	struct fixture_call *call = arg;

	call->link = NULL;
	call->r = cfs_link_connect(call->address, call->tls, 5000, &call->link,
				   NULL);
	return NULL;
}

/* Handshake of the accepting side; gives up when the other one has. */
static inline int fixture_shake(struct cfs_link *link)
{
	uint8_t *msg = malloc(CFS_MSG_BYTES_MAX);
	size_t bytes;
	int r = -EAGAIN, i;

	for (i = 0; i < 500 && r == -EAGAIN && !cfs_link_is_ready(link); i++) {
		struct pollfd p = { .fd = cfs_link_fd(link),
				    .events = cfs_link_events(link) };

		(void)poll(&p, 1, 10);
		r = cfs_link_recv(link, msg, &bytes, NULL);
	}
	free(msg);
	return cfs_link_is_ready(link) ? 0 : r;
}

/* Both ends of a link to listener @fd at @said: [0] called, [1] accepted. */
static inline int open_ends(int fd, const struct cfs_address *said,
			    struct cfs_tls *client, struct cfs_tls *server,
			    struct cfs_link *ret[2])
{
	struct fixture_call call = { .address = said, .tls = client };
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct cfs_link *accepted = NULL;
	pthread_t thread;
	int r, taken;

	if (pthread_create(&thread, NULL, fixture_caller, &call) != 0)
		return -EAGAIN;
	(void)poll(&p, 1, 5000);
	taken = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	r = taken < 0 ? -errno
		      : cfs_link_accept(taken, server, &accepted, NULL);
	if (r == 0)
		r = fixture_shake(accepted);
	if (r < 0) {
		cfs_link_free(accepted);
		accepted = NULL;
	}
	pthread_join(thread, NULL);
	if (r == 0)
		r = call.r;
	else if (call.r < 0)
		r = call.r == -EACCES ? call.r : r;
	if (r < 0) {
		cfs_link_free(accepted);
		cfs_link_free(call.link);
		return r;
	}
	ret[0] = call.link;
	ret[1] = accepted;
	return 0;
}

/* ca, server (127.0.0.1), client, and a stranger of another CA, in the
 * directory.  false: there is no openssl. */
static inline bool fixture_certificates(void)
{
	char command[4096];

	snprintf(command, sizeof(command),
		 "cd %s && exec >/dev/null 2>&1 && set -e && "
		 "key() { openssl genpkey -algorithm EC -pkeyopt "
		 "ec_paramgen_curve:P-256 -out $1.key; } && "
		 "ca() { key $1; openssl req -x509 -new -key $1.key -out "
		 "$1.crt -subj /CN=$1 -days 30; } && "
		 "leaf() { key $1; openssl req -new -key $1.key -subj /CN=$1 "
		 "-out $1.csr; printf 'extendedKeyUsage=%%s\\n"
		 "subjectAltName=IP:127.0.0.1\\n' $3 >$1.ext; "
		 "openssl x509 -req -in $1.csr -CA $2.crt -CAkey $2.key "
		 "-CAcreateserial -out $1.crt -days 30 -extfile $1.ext; } && "
		 "ca ca && ca other && leaf server ca serverAuth && "
		 "leaf client ca clientAuth && "
		 "leaf stranger other serverAuth,clientAuth",
		 fixture_dir);
	return system(command) == 0;
}
