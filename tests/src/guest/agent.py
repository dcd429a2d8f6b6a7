#!/usr/bin/python3
# Runs in the guest: connects to the test over the last NIC, and does what it is told.
# A request is a length (4 bytes, big-endian) and a shell script; the answer is the exit status
# (4 bytes), a length (4 bytes) and what the script wrote to its standard output and error.
import glob
import socket
import struct
import subprocess

LIMIT_S = 20

control = "eth%d" % (len(glob.glob("/sys/class/net/eth*")) - 1)
subprocess.run(["ip", "address", "add", "169.254.1.2/30", "dev", control], check=True)
subprocess.run(["ip", "link", "set", control, "up"], check=True)
test = socket.create_connection(("169.254.1.1", 1), timeout=10)
test.settimeout(None)
test.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def read(length):
    data = b""
    while len(data) < length:
        piece = test.recv(length - len(data))
        if not piece:
            raise SystemExit(0)
        data += piece
    return data


while True:
    script = read(struct.unpack(">I", read(4))[0])
    try:
        done = subprocess.run(
            ["bash", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LIMIT_S,
        )
        status, output = done.returncode, done.stdout
    except subprocess.TimeoutExpired as late:
        status, output = 124, (late.stdout or b"") + b"\n(it takes too long)\n"
    test.sendall(struct.pack(">iI", status, len(output)) + output)
