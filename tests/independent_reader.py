#!/usr/bin/env python3
"""Reads fiovana-app repositories of formats 1 and 2 from their specification alone.

Written from src/repository/FORMAT.md and FORMAT-1.md, with the standard library and the commands `zstd` and `age`, so that
a mistake which the program's own reader and writer share is found. Exit code: 0 all right, 1 damage (one line each, by
place), 2 usage or no repository.
"""

import argparse
import base64
import hashlib
import json
import os
import re
import stat
import subprocess
import sys

ID = re.compile(r"(\d{8}T\d{6}Z)-([0-9a-f]{8}|[0-9a-f]{32})\.json")
MIB = 1 << 20
MAX_BODY, MAX_ENTRIES, MAX_PATH, MAX_SEGMENT, MAX_SEGMENTS = 512 * MIB, 1_000_000, 4096, 255, 128


class Damaged(Exception):
    """Something is not as the format says: its place and what is wrong."""


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def command(argv, data, place):
    done = subprocess.run(argv, input=data, capture_output=True)
    if done.returncode != 0:
        raise Damaged(f"{place}: {argv[0]} refuses it")
    return done.stdout


def zstd_frames(data):
    """The content sizes of frames are in their headers only if the writer put them there, so zstd tells where they end."""
    return command(["zstd", "-dcq"], data, "a frame")


def path_bytes(text):
    """The bytes that the text of a path stands for (FORMAT.md, Paths)."""
    data = re.sub(rb"\\(\\|0[0-3][0-7]{2})", lambda m: b"\\" if m[1] == b"\\" else bytes([int(m[1], 8)]), text.encode())
    if path_text(data) != text:
        raise Damaged(f"{text!r} is not the text of its bytes")
    return data


def path_text(data):
    shown = data.decode("utf-8", "surrogateescape").replace("\\", "\\\\")
    octal = lambda m: "\\0%03o" % (ord(m[0]) - 0xDC00 if ord(m[0]) >= 0xDC00 else ord(m[0]))
    return re.sub("[\x00-\x1f\x7f\udc80-\udcff]", octal, shown)


def safe(path):
    segments = path.split(b"/")
    return (len(path) <= MAX_PATH and len(segments) <= MAX_SEGMENTS and b"\0" not in path
            and all(s and s not in (b".", b"..") and len(s) <= MAX_SEGMENT for s in segments))


class Repository:
    def __init__(self, root, key):
        self.root, self.key, self.cache = root, key, (None, None)
        document = self.sealed("repository.json")
        if document.get("format") not in (1, 2):
            raise Damaged(f"repository.json: format {document.get('format')} is not known here")
        self.format = document["format"]

    def read(self, place):
        try:
            with open(os.path.join(self.root, place), "rb") as file:
                return file.read()
        except OSError as error:
            raise Damaged(f"{place}: {error.strerror}")

    def sealed(self, place):
        data = self.read(place)
        before = data[: data.rstrip(b"\n").rfind(b"\n") + 1]
        if data != before + f'  "sha256": "{sha256(before)}" }}\n'.encode():
            raise Damaged(f"{place}: its seal is not right")
        return json.loads(data)

    def backups(self):
        """Every (set, id) that there is."""
        manifests = os.path.join(self.root, "manifests")
        for name in sorted(os.listdir(manifests)):
            files = os.listdir(os.path.join(manifests, name))
            yield from ((name, file[:-5]) for file in sorted(files) if ID.fullmatch(file))

    def generation(self, directory, name):
        """The highest generation of a document that verifies; None if there is none."""
        found = [re.fullmatch(rf"{name}\.([1-9]\d*)\.json", file) for file in os.listdir(os.path.join(self.root, directory))]
        for number in sorted((int(match[1]) for match in found if match), reverse=True):
            try:
                document = self.sealed(os.path.join(directory, f"{name}.{number}.json"))
                if document.get("format") == 2:
                    return document
            except (Damaged, ValueError):
                pass
        return None

    def decrypt(self, data, place):
        if not data.startswith(b"age-encryption.org/v1\n"):
            return data
        if not self.key:
            raise Damaged(f"{place}: it is encrypted, and no key was given")
        return command(["age", "-d", "-i", self.key], data, place)

    def object(self, name):
        place = f"objects/{name[:2]}/{name}"
        fault = None
        for candidate in [place] + [f"{place}.{number}" for number in range(1, 9)]:
            try:
                data = self.read(candidate)
                if sha256(data) == name:
                    return data
                fault = fault or Damaged(f"{place}: it does not hash to its name")
            except Damaged as error:
                fault = fault or error
        raise fault

    def chunk(self, chunk):
        name, place = chunk["object"], f"objects/{chunk['object'][:2]}/{chunk['object']}"
        if self.cache[0] != name:
            self.cache = (name, self.decrypt(self.object(name), place))
        data = self.cache[1]
        if "frame" in chunk:
            offset, length = chunk["frame"]
            if not 0 < length <= len(data) - offset:
                raise Damaged(f"{place}: the frame {chunk['frame']} is not in it")
            data = data[offset:offset + length]
        content = command(["zstd", "-dcq"], data, place)
        if len(content) != chunk["size_bytes"] or not 0 < len(content) <= MIB:
            raise Damaged(f"{place}: content is not what the manifest says")
        return content

    def manifest(self, name, backup):
        """The envelope and the entries, as (kind, entry); no entries if it is encrypted and there is no key."""
        place = f"manifests/{name}/{backup}.json"
        data = self.read(place)
        if not sha256(data).startswith(backup.split("-")[1]):
            raise Damaged(f"{place}: its bytes do not hash to its id")
        document = json.loads(data)
        envelope, body = document["envelope"], document["body"]
        if envelope["format"] != (1 if len(backup) == 25 else 2) or envelope["set"] != name:
            raise Damaged(f"{place}: it is not the backup that its name says")
        if envelope["recipients"] and not self.key:
            return envelope, None
        if envelope["format"] == 1:
            if isinstance(body, str):
                body = json.loads(self.decrypt(base64.b64decode(body, validate=True), place))
            return envelope, list(self.entries_of_format_1(body))
        text = command(["zstd", "-dcq"], self.decrypt(base64.b64decode(body, validate=True), place), place)
        lines = [json.loads(line) for line in text.splitlines()]
        if lines and "lines" in lines[0]:
            text = b"".join(self.chunk(line["lines"]) for line in lines)
            lines = [json.loads(line) for line in text.splitlines()]
        if len(text) > MAX_BODY or len(lines) > MAX_ENTRIES:
            raise Damaged(f"{place}: it is larger than a body can be")
        entries = [next(iter(line.items())) for line in lines]
        self.check(place, envelope, entries)
        return envelope, entries

    @staticmethod
    def entries_of_format_1(body):
        for file in body["files"]:
            at = 0
            for chunk in file["chunks"]:
                chunk["at"], at = at, at + chunk["size_bytes"]
            attributes = {key: file.pop(key) for key in ("mode", "uid", "gid", "modified")}
            yield "file", dict(file, path=path_text(file["path"].encode()), attributes=attributes)
        yield from (("missing", {"path": path_text(path.encode())}) for path in body["missing"])

    @staticmethod
    def check(place, envelope, entries):
        objects = {item["name"] for item in envelope["objects"]}
        paths = [entry["path"].encode() for _, entry in entries]
        if any(a >= b for a, b in zip(paths, paths[1:])):
            raise Damaged(f"{place}: its paths are out of order")
        kept = {entry["path"] for kind, entry in entries if kind in ("file", "symlink", "hard_link")}
        for kind, entry in entries:
            path = entry["path"]
            if kind in ("missing", "unreadable") or (kind, path) == ("directory", "."):
                continue
            if not safe(path_bytes(path)) or any(path[:m.start()] in kept for m in re.finditer("/", path)):
                raise Damaged(f"{place}: the path {path!r} is not allowed")
            end = 0
            for chunk in entry.get("chunks", ()):
                at = chunk.get("at", 0)
                if at < end or chunk["object"] not in objects:
                    raise Damaged(f"{place}: the chunks of {path!r} do not make up the file")
                end = at + chunk["size_bytes"]
            if kind == "file" and end > entry["size_bytes"]:
                raise Damaged(f"{place}: the chunks of {path!r} do not make up the file")

    def content(self, file):
        """The content of a file, piece by piece; its hash is checked at the end."""
        hasher, end = hashlib.sha256(), 0
        for chunk in file["chunks"] + [{"at": file["size_bytes"], "size_bytes": 0}]:
            for hole in range(end, chunk.get("at", 0), MIB):
                zeros = bytes(min(MIB, chunk["at"] - hole))
                hasher.update(zeros)
                yield zeros
            if chunk["size_bytes"]:
                content = self.chunk(chunk)
                hasher.update(content)
                yield content
            end = chunk.get("at", 0) + chunk["size_bytes"]
        if hasher.hexdigest() != file["sha256"]:
            raise Damaged(f"{file['path']!r}: its SHA-256 is not the manifest's")


def verify(repository, name, backup):
    envelope, entries = repository.manifest(name, backup)
    for item in envelope["objects"]:
        if len(repository.object(item["name"])) != item["stored_bytes"]:
            raise Damaged(f"objects/{item['name'][:2]}/{item['name']}: it has another size than was stored")
    for kind, entry in entries or ():
        if kind == "file":
            for _ in repository.content(entry):
                pass


def restore(repository, name, backup, target):
    _, entries = repository.manifest(name, backup)
    if entries is None:
        raise Damaged(f"manifests/{name}/{backup}.json: it is encrypted, and no key was given")
    target = os.fsencode(target)
    os.makedirs(target, mode=0o700)
    place = lambda text: target if text == "." else os.path.join(target, path_bytes(text))
    for kind, entry in entries:
        path = place(entry["path"])
        if kind in ("file", "symlink", "hard_link"):
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        if kind == "directory":
            os.makedirs(path, mode=0o700, exist_ok=True)
        elif kind == "file":
            with open(path, "xb") as file:
                for piece in repository.content(entry):
                    file.seek(len(piece), os.SEEK_CUR) if not any(piece) else file.write(piece)
                file.truncate(entry["size_bytes"])
        elif kind == "symlink":
            os.symlink(path_bytes(entry["target"]), path)
        elif kind == "hard_link":
            os.link(place(entry["to"]), path)
    for kind, entry in reversed(entries):
        if "attributes" in entry:
            attributes, path = entry["attributes"], place(entry["path"])
            if os.geteuid() == 0:
                os.lchown(path, attributes["uid"], attributes["gid"])
            for key, value in attributes.get("xattrs", {}).items():
                os.setxattr(path, path_bytes(key), bytes.fromhex(value), follow_symlinks=False)
            if kind != "symlink":
                os.chmod(path, stat.S_IMODE(int(attributes["mode"], 8)))
            if "T" not in attributes["modified"]:
                whole, fraction = attributes["modified"].split(".")
                sign = -1 if whole.startswith("-") else 1
                time = int(whole) * 10**9 + sign * int(fraction)
                os.utime(path, ns=(time, time), follow_symlinks=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", help="the directory that holds repository.json")
    parser.add_argument("--key", help="a file with an age identity, for encrypted backups")
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="print every backup: set, id, timeline, sequence, whether it is pinned")
    actions.add_parser("rows", help="print what a replica is told: each row at the top, its highest generation that is right")
    actions.add_parser("verify", help="read every backup; print one line for each that is damaged")
    command = actions.add_parser("restore", help="restore one backup into a new directory")
    for argument in ("set", "id", "target"):
        command.add_argument(argument)
    options = parser.parse_args()
    try:
        repository = Repository(options.repository, options.key)
    except (Damaged, ValueError, KeyError) as error:
        sys.exit(print(error, file=sys.stderr) or 2)
    if options.action == "rows":
        for name in ("timelines", "verification", "audit_head", "writer", "status"):
            print(name, json.dumps(repository.generation("", name), sort_keys=True))
        sys.exit(0)
    damaged = False
    chosen = [(options.set, options.id)] if options.action == "restore" else repository.backups()
    for name, backup in chosen:
        try:
            if options.action == "restore":
                restore(repository, name, backup, options.target)
            elif options.action == "verify":
                verify(repository, name, backup)
            else:
                envelope, _ = repository.manifest(name, backup)
                pins = repository.generation(f"manifests/{name}", "pins") or {"pinned": []}
                pin = os.path.exists(os.path.join(repository.root, "manifests", name, backup + ".pin"))
                pinned = "pinned" if pin or backup in pins["pinned"] else "-"
                print(name, backup, envelope.get("timeline", 1), envelope["sequence"], pinned)
        except (Damaged, ValueError, KeyError, TypeError, OSError) as error:
            damaged = True
            print(f"{name} {backup}: {error or type(error).__name__}")
    sys.exit(1 if damaged else 0)


if __name__ == "__main__":
    main()
