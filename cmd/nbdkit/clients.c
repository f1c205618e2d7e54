/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Who is connected to what, for those who want to see it: a file with a line a
 * connection, "EXPORT rw|ro CLIENT", that is written anew when one comes or
 * goes.  It is never read, and a failure to write it stops nobody.
 */
#define NBDKIT_API_VERSION 2

#include "nbdkit/plugin.h"

#include "base/cleanup.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <nbdkit-plugin.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct client {
	struct client *next;
	const struct export *e;
	char *name; /* of the export */
	char peer[INET6_ADDRSTRLEN + 32];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct client *clients;

static void name_peer(char *ret, size_t ret_bytes)
{
	struct sockaddr_storage addr = { .ss_family = AF_UNSPEC };
	socklen_t length = sizeof(addr);
	const struct sockaddr_in *v4 = (const void *)&addr;
	const struct sockaddr_in6 *v6 = (const void *)&addr;
	char text[INET6_ADDRSTRLEN] = "?";

	if (nbdkit_peer_name((struct sockaddr *)&addr, &length) < 0)
		addr.ss_family = AF_UNSPEC;
	if (addr.ss_family == AF_INET) {
		inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
		(void)snprintf(ret, ret_bytes, "%s:%u", text,
			       ntohs(v4->sin_port));
	} else if (addr.ss_family == AF_INET6) {
		inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
		(void)snprintf(ret, ret_bytes, "[%s]:%u", text,
			       ntohs(v6->sin6_port));
	} else if (addr.ss_family == AF_UNIX) {
		(void)snprintf(ret, ret_bytes, "process %lld",
			       (long long)nbdkit_peer_pid());
	} else {
		(void)snprintf(ret, ret_bytes, "unknown");
	}
}

/* With the lock. */
static void write_all(void)
{
	CFS_CLEANUP(cfs_freep) char *path = NULL;
	FILE *to;

	if (asprintf(&path, "%s.new", pool_config.clients) < 0) {
		path = NULL;
		return;
	}
	to = fopen(path, "we");
	if (!to) {
		nbdkit_debug("%s: %m", path);
		return;
	}
	for (const struct client *c = clients; c; c = c->next)
		fprintf(to, "%s %s %s\n", c->name,
			c->e->is_writable ? "rw" : "ro", c->peer);
	if (fclose(to) != 0 || rename(path, pool_config.clients) != 0)
		nbdkit_debug("%s: %m", path);
}

void clients_add(const struct export *e, const char *name)
{
	struct client *c;

	if (!pool_config.clients)
		return;
	c = calloc(1, sizeof(*c));
	if (c)
		c->name = strdup(name);
	if (!c || !c->name) {
		free(c);
		return;
	}
	c->e = e;
	name_peer(c->peer, sizeof(c->peer));
	pthread_mutex_lock(&lock);
	c->next = clients;
	clients = c;
	write_all();
	pthread_mutex_unlock(&lock);
}

void clients_drop(const struct export *e)
{
	struct client **at, *c;

	if (!pool_config.clients)
		return;
	pthread_mutex_lock(&lock);
	for (at = &clients; (c = *at); at = &c->next)
		if (c->e == e)
			break;
	if (c) {
		*at = c->next;
		free(c->name);
		free(c);
		write_all();
	}
	pthread_mutex_unlock(&lock);
}
