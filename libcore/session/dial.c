/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "session/dial.h"

#include "base/bits.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PROBE_MS_MAX 1000u

struct dial {
	const struct cfs_session_options *opt;
	unsigned int timeout_ms;
	struct cfs_tls *tls;
	cfs_dial_fn say_hello;
	void *arg;
	struct cfs_err refusal; /* no waiting cures it; code 0: none */
};

/* The files are read when they are first needed: TLS is not loaded before. */
static int need_tls(struct dial *d, struct cfs_err *err)
{
	const struct cfs_tls_config config = {
		.cert = d->opt->tls_cert,
		.key = d->opt->tls_key,
		.ca = d->opt->tls_ca,
	};

	if (d->tls || (!config.cert && !config.key && !config.ca))
		return 0;
	return cfs_tls_new(&config, &d->tls, err);
}

/* Does anybody listen there? */
static bool is_there(const struct cfs_address *address, unsigned int wait_ms)
{
	struct cfs_address_socket to[CFS_ADDRESS_SOCKETS_MAX];
	struct pollfd p = { .events = POLLOUT };
	size_t count = 0;
	bool is = false;

	if (cfs_address_resolve(address, to, &count, NULL) < 0)
		return false;
	for (size_t i = 0; !is && i < count; i++) {
		const struct sockaddr *at = (const void *)&to[i].storage;
		socklen_t bytes = sizeof(int);
		int error = 0;

		p.fd = socket(at->sa_family,
			      SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (p.fd < 0)
			continue;
		is = connect(p.fd, at, to[i].bytes) == 0 ||
		     (errno == EINPROGRESS &&
		      poll(&p, 1, (int)CFS_MIN(wait_ms, PROBE_MS_MAX)) == 1 &&
		      getsockopt(p.fd, SOL_SOCKET, SO_ERROR, &error, &bytes) ==
			      0 &&
		      error == 0);
		close(p.fd);
	}
	return is;
}

static int no_certificate(const struct cfs_address *address,
			  unsigned int timeout_ms, struct cfs_err *err)
{
	char text[CFS_ADDRESS_TEXT_BYTES];

	cfs_address_format(address, text);
	/* One that is gone refuses nobody: its lease is waited out. */
	if (!is_there(address, timeout_ms))
		return cfs_err_set(err, -EBUSY, "%s: nobody answers", text);
	return cfs_err_set(err, -EPERM,
			   "%s: another host is reached with TLS "
			   "only: give a certificate, its key and a CA "
			   "(CFS_TLS_CERT, CFS_TLS_KEY, CFS_TLS_CA)",
			   text);
}

static int try_tcp(struct dial *d, const struct cfs_address *address,
		   struct cfs_err *err)
{
	char text[CFS_ADDRESS_TEXT_BYTES];
	struct cfs_link *link = NULL;
	bool is_ours = true;
	int r = need_tls(d, err);

	if (r == 0) {
		is_ours = false;
		r = cfs_link_connect(address, d->tls, d->timeout_ms, &link,
				     err);
		if (r == -EPERM && !d->tls)
			r = no_certificate(address, d->timeout_ms, err);
	}
	if (r == 0) {
		r = d->say_hello(d->arg, link, err);
		if (r < 0)
			r = cfs_err_wrap(err, r, "%s",
					 cfs_address_format(address, text));
	}
	if (is_ours ? r < 0 : r == -EPERM || r == -EACCES)
		d->refusal = *err;
	return r;
}

static int try_unix(struct dial *d, const struct cfs_address *address,
		    struct cfs_err *err)
{
	struct cfs_link *link = NULL;
	int r = cfs_link_connect(address, NULL, d->timeout_ms, &link, err);

	return r < 0 ? r : d->say_hello(d->arg, link, err);
}

static bool is_final(int r)
{
	return r == 0 || r == -ENOTSUP || r == -EINTR;
}

/* Those of one kind.  -ENOENT: there are none. */
static int try_kind(struct dial *d, const char *addresses,
		    enum cfs_address_kind kind, struct cfs_err *err)
{
	struct cfs_address address;
	int r, last = -ENOENT;

	while ((r = cfs_address_next(&addresses, &address, NULL)) != -ENOENT) {
		if (r < 0 || address.kind != kind)
			continue;
		last = kind == CFS_ADDRESS_UNIX ? try_unix(d, &address, err)
						: try_tcp(d, &address, err);
		if (is_final(last))
			break;
		if (last == -ENOENT)
			last = -EBUSY;
	}
	return last;
}

int cfs_dial(const char *addresses, const struct cfs_session_options *opt,
	     unsigned int timeout_ms, const char *who, cfs_dial_fn say_hello,
	     void *arg, struct cfs_err *err)
{
	struct dial d = {
		.opt = opt,
		.timeout_ms = timeout_ms,
		.say_hello = say_hello,
		.arg = arg,
	};
	struct cfs_err own = CFS_ERR_INIT, *why = err ? err : &own;
	const struct cfs_err before = *why;
	int r, r2;

	cfs_err_set(why, -EBUSY, "nobody answers");
	r = try_kind(&d, addresses, CFS_ADDRESS_UNIX, why);
	if (!is_final(r)) {
		r2 = try_kind(&d, addresses, CFS_ADDRESS_TCP, why);
		r = r2 == -ENOENT ? r : r2;
	}
	cfs_tls_free(d.tls);
	if (r == 0)
		*why = before;
	if (is_final(r))
		return r;
	if (d.refusal.code) {
		*why = d.refusal;
		return why->code;
	}
	return cfs_err_wrap(why, r == -ENOMEM ? r : -EBUSY, "%s", who);
}
