/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * etcd's lock, taken and given back over one connection that stays open, as
 * its own clients do it (by its JSON gateway): no process is started for it.
 *
 *   etcd-bench PORT COUNT	one line: microseconds a lock with its unlock
 */
#include "measure.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

static char answer[65536];

static int die(const char *what)
{
	fprintf(stderr, "etcd-bench: %s: %s\n", what,
		errno ? strerror(errno) : "not the answer that was expected");
	return 1;
}

static int connect_to(uint64_t port)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		return -1;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

/* The body of the answer, or NULL.  Its length stands in the header. */
static const char *ask(int fd, const char *path, const char *body)
{
	char request[2048];
	const char *at, *end = NULL;
	size_t have = 0, length = 0;
	int n = snprintf(request, sizeof(request),
			 "POST %s HTTP/1.1\r\n"
			 "Host: localhost\r\nContent-Type: application/json\r\n"
			 "Content-Length: %zu\r\n\r\n%s",
			 path, strlen(body), body);

	errno = 0;
	if (send(fd, request, (size_t)n, MSG_NOSIGNAL) != n)
		return NULL;
	while (!end || have < (size_t)(end + 4 - answer) + length) {
		ssize_t got = recv(fd, answer + have, sizeof(answer) - 1 - have,
				   0);

		if (got <= 0)
			return NULL;
		have += (size_t)got;
		answer[have] = '\0';
		end = strstr(answer, "\r\n\r\n");
		at = strstr(answer, "Content-Length: ");
		if (end && (!at || at > end))
			return NULL;
		if (end)
			length = strtoul(at + 16, NULL, 10);
	}
	return strncmp(answer, "HTTP/1.1 200", 12) == 0 ? end + 4 : NULL;
}

/* The text of "key":"..." in @json. */
static bool find(const char *json, const char *key, char *ret, size_t room)
{
	const char *at = strstr(json, key), *end;

	if (!at)
		return false;
	at += strlen(key);
	end = strchr(at, '"');
	if (!end || (size_t)(end - at) >= room)
		return false;
	memcpy(ret, at, (size_t)(end - at));
	ret[end - at] = '\0';
	return true;
}

static bool lock_and_unlock(int fd, const char *lease)
{
	char body[1024], key[512];
	const char *json;

	/* "bench", as the gateway wants it. */
	snprintf(body, sizeof(body), "{\"name\":\"YmVuY2g=\",\"lease\":\"%s\"}",
		 lease);
	json = ask(fd, "/v3/lock/lock", body);
	if (!json || !find(json, "\"key\":\"", key, sizeof(key)))
		return false;
	snprintf(body, sizeof(body), "{\"key\":\"%s\"}", key);
	return ask(fd, "/v3/lock/unlock", body) != NULL;
}

int main(int argc, char **argv)
{
	uint64_t port = argc == 3 ? parse_count(argv[1]) : 0;
	uint64_t count = argc == 3 ? parse_count(argv[2]) : 0;
	const char *json;
	char lease[64];
	uint64_t begin;
	int fd;

	if (!port || !count) {
		fprintf(stderr, "usage: etcd-bench PORT COUNT\n");
		return 2;
	}
	fd = connect_to(port);
	if (fd < 0)
		return die("connect");
	json = ask(fd, "/v3/lease/grant", "{\"TTL\":60}");
	if (!json || !find(json, "\"ID\":\"", lease, sizeof(lease)) ||
	    !lock_and_unlock(fd, lease))
		return die("lock");
	begin = now_ns();
	for (uint64_t i = 0; i < count; i++)
		if (!lock_and_unlock(fd, lease))
			return die("lock");
	printf("{\"lock_us\": %.2f}\n",
	       (double)(now_ns() - begin) / 1e3 / (double)count);
	close(fd);
	return 0;
}
