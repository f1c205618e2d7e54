#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A client of SMB 2 that flushes, which none of Debian's programs does when it
# is told to: it holds one file open, writes each line of its input behind what
# is there, has it flushed (the server's fsync), and only then tells the line.
#
#   smb2-writer.py PORT SHARE NAME USER NTHASH
#
# NTHASH is the fourth field of `pdbedit -L -w`.  Nothing is signed: for a
# server on this machine.
import hashlib
import hmac
import os
import socket
import struct
import sys

NEGOTIATE, SESSION_SETUP, TREE_CONNECT, CREATE, FLUSH, WRITE = 0, 1, 3, 5, 7, 9
PENDING, MORE_PROCESSING = 0x103, 0xC0000016
HEADER = "<4sHHIHHIIQIIQ16s"
HEADER_BYTES = 64
# Unicode, target, NTLM, extended session security, target information.
NTLM_FLAGS = 0x00880205


def md5_hmac(key, data):
    return hmac.new(key, data, hashlib.md5).digest()


def utf16(text):
    return text.encode("utf-16-le")


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 60)
        self.message = self.session = self.tree = 0

    def receive(self, count):
        data = b""
        while len(data) < count:
            got = self.socket.recv(count - len(data))
            if not got:
                sys.exit("the server has gone")
            data += got
        return data

    def call(self, command, body, *accepted):
        head = struct.pack(HEADER, b"\xfeSMB", HEADER_BYTES, 0, 0, command, 64,
                           0, 0, self.message, 0, self.tree, self.session, b"")
        self.message += 1
        self.socket.sendall(struct.pack(">I", len(head + body)) + head + body)
        status = PENDING
        while status == PENDING:
            answer = self.receive(struct.unpack(">I", self.receive(4))[0])
            fields = struct.unpack_from(HEADER, answer)
            status = fields[3]
        if status and status not in accepted:
            sys.exit("command %d: status %#x" % (command, status))
        return fields, answer

    def negotiate(self):
        self.call(NEGOTIATE, struct.pack("<HHHHI16sQH", 36, 1, 1, 0, 0,
                                         os.urandom(16), 0, 0x0202))

    def authenticate(self, blob):
        at = HEADER_BYTES + 24
        fields, answer = self.call(
            SESSION_SETUP,
            struct.pack("<HBBIIHHQ", 25, 0, 1, 0, 0, at, len(blob), 0) + blob,
            MORE_PROCESSING)
        self.session = fields[11]
        offset, count = struct.unpack_from("<HH", answer, HEADER_BYTES + 4)
        return answer[offset:offset + count]

    def log_in(self, user, nt_hash):
        told = self.authenticate(struct.pack(
            "<8sII16x", b"NTLMSSP", 1, NTLM_FLAGS))
        told = told[told.index(b"NTLMSSP\0"):]
        count, _, offset = struct.unpack_from("<HHI", told, 40)
        key = md5_hmac(nt_hash, utf16(user.upper()))
        proof = (b"\x01\x01" + bytes(14) + os.urandom(8) + bytes(4) +
                 told[offset:offset + count] + bytes(4))
        proof = md5_hmac(key, told[24:32] + proof) + proof
        fields, payload = b"", b""
        for part in (bytes(24), proof, b"", utf16(user), b"", b""):
            fields += struct.pack("<HHI", len(part), len(part),
                                  64 + len(payload))
            payload += part
        self.authenticate(struct.pack("<8sI", b"NTLMSSP", 3) + fields +
                          struct.pack("<I", NTLM_FLAGS) + payload)

    def connect(self, share):
        path = utf16("\\\\127.0.0.1\\" + share)
        fields, _ = self.call(TREE_CONNECT, struct.pack(
            "<HHHH", 9, 0, HEADER_BYTES + 8, len(path)) + path)
        self.tree = fields[10]

    def create(self, name):
        # To read and write, shared with all, made if it is not there.
        wide = utf16(name)
        _, answer = self.call(CREATE, struct.pack(
            "<HBBIQQIIIIIHHII", 57, 0, 0, 2, 0, 0, 0x12019F, 0x80, 7, 3, 0x40,
            HEADER_BYTES + 56, len(wide), 0, 0) + wide)
        return answer[HEADER_BYTES + 64:HEADER_BYTES + 80]

    def write(self, file, offset, data):
        _, answer = self.call(WRITE, struct.pack(
            "<HHIQ16sIIHHI", 49, HEADER_BYTES + 48, len(data), offset, file,
            0, 0, 0, 0, 0) + data)
        if struct.unpack_from("<I", answer, HEADER_BYTES + 4)[0] != len(data):
            sys.exit("a short write")

    def flush(self, file):
        self.call(FLUSH, struct.pack("<HHI16s", 24, 0, 0, file))


def main():
    port, share, name, user, nt_hash = sys.argv[1:]
    client = Client(int(port))
    client.negotiate()
    client.log_in(user, bytes.fromhex(nt_hash))
    client.connect(share)
    file = client.create(name)
    offset = 0
    for line in sys.stdin:
        client.write(file, offset, line.encode())
        client.flush(file)
        offset += len(line.encode())
        print(line, end="", flush=True)


main()
