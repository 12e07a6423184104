"""A kill without any signal that the process could handle."""

#: For `python -c` in the container to be killed, as the user of its process.
#:
#: The container's process is the init of its PID namespace, so the kernel ignores a SIGKILL from inside, and
#: `kubectl delete --force` may still send SIGTERM. But the kernel itself sends SIGKILL to a process above its hard
#: limit of CPU time, and an init gets that one. The kernel looks at the limit on a tick that finds the process on a
#: CPU. An idle process is there rarely, so this script keeps it busy with requests, and dies with it.
KILL = """
import http.client, os, resource
resource.prlimit(1, resource.RLIMIT_CPU, (0, 0))
for _ in range(20_000):
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["PORT"]), timeout=5)
    try:
        connection.request("GET", "/health")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        pass
    finally:
        connection.close()
"""
