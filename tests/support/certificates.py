"""A throw-away certificate authority on the openssl command."""

import datetime
import pathlib
import subprocess
import tempfile

from processes import need

CONFIG = """
[ca]
default_ca = here
[here]
database = index.txt
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
copy_extensions = none
[any]
commonName = supplied
[req]
distinguished_name = name
prompt = no
[name]
CN = unused
"""


class Authority:
    """Keys and certificates in a directory of its own, which goes with the object's close()."""

    def __init__(self, name="conpool test CA"):
        self.openssl = need("openssl")
        self.place = tempfile.TemporaryDirectory(prefix="conpool-ca-")
        self.directory = pathlib.Path(self.place.name)
        self.issued = 0
        (self.directory / "ca.cnf").write_text(CONFIG)
        (self.directory / "index.txt").touch()
        self.certificate = self.directory / "ca.pem"
        self.key = self.directory / "ca.key"
        self._run("req", "-x509", "-config", "ca.cnf", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                  "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "30", "-subj", f"/CN={name}",
                  "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def _run(self, *arguments):
        done = subprocess.run([self.openssl, *arguments], cwd=self.directory, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise RuntimeError(f"openssl {arguments[0]}: {done.stderr}")

    def issue(self, name, alt_names=None, valid_from=None, valid_to=None):
        """(certificate file, key file) for a name.

        alt_names are in OpenSSL's form ("DNS:h.test", "IP:127.0.0.1"); None = the name itself, as DNS. The
        times are datetimes in UTC; without them the certificate is valid now, for a day.
        """
        self.issued += 1
        stem = f"leaf{self.issued}"
        now = datetime.datetime.now(datetime.timezone.utc)
        start = valid_from or now - datetime.timedelta(hours=1)
        end = valid_to or now + datetime.timedelta(days=1)
        names = ",".join([f"DNS:{name}"] if alt_names is None else alt_names)
        extensions = "basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth\n"
        if names:
            extensions += f"subjectAltName={names}\n"
        (self.directory / f"{stem}.ext").write_text(extensions)
        self._run("req", "-new", "-config", "ca.cnf", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                  "-nodes", "-keyout", f"{stem}.key", "-out", f"{stem}.csr", "-subj", f"/CN={name}")
        self._run("ca", "-batch", "-notext", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key",
                  "-in", f"{stem}.csr", "-out", f"{stem}.pem", "-extfile", f"{stem}.ext",
                  "-startdate", start.strftime("%Y%m%d%H%M%SZ"), "-enddate", end.strftime("%Y%m%d%H%M%SZ"))
        return self.directory / f"{stem}.pem", self.directory / f"{stem}.key"

    def close(self):
        self.place.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
