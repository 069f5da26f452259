#!/usr/bin/env bash
# Makes the golden vectors in ./vectors with the reference implementation of OpenSSF model signing:
#   python3 -m venv VENV && VENV/bin/pip install model-signing==1.1.1 pyopenssl
#   MODEL_SIGNING=VENV/bin/model_signing ./make-vectors.sh
# Needs openssl 3. Private keys are made anew and thrown away, so every run gives other bytes.
set -euo pipefail
cd "$(dirname "$0")"
model_signing=${MODEL_SIGNING:-model_signing}
rm -rf vectors
mkdir -p vectors
keys=$(mktemp -d)
trap 'rm -rf "$keys"' EXIT

# The folder that is signed: "a/b" sorts before "a-b" as a path and after it as a text, and what git keeps is not a part of the model.
mkdir -p vectors/model/a
printf 'not really a model' >vectors/model/model.onnx
printf 'no yes' >vectors/model/labels.txt
printf 'below' >vectors/model/a/b
printf 'beside' >vectors/model/a-b

for curve in prime256v1:p256 secp384r1:p384 secp521r1:p521; do
  name=${curve#*:}
  openssl ecparam -name "${curve%:*}" -genkey -noout -out "$keys/$name.pem"
  openssl ec -in "$keys/$name.pem" -pubout -out "vectors/$name.pub.pem" 2>/dev/null
  "$model_signing" sign key --private_key "$keys/$name.pem" --signature "vectors/$name.sig" vectors/model
done
"$model_signing" sign key --private_key "$keys/p256.pem" --signature vectors/single-file.sig vectors/model/model.onnx
"$model_signing" sign key --private_key "$keys/p256.pem" --signature vectors/partial.sig \
  --ignore-paths vectors/model/model.onnx vectors/model

# Two authorities, one below the other, and signers below the second.
certify() { # name issuer days extensions…
  local name=$1 issuer=$2 days=$3
  shift 3
  openssl ecparam -name prime256v1 -genkey -noout -out "$keys/$name.pem"
  openssl req -new -key "$keys/$name.pem" -subj "/O=Drover tests/CN=$name" -out "$keys/$name.csr"
  printf '%s\n' "$@" >"$keys/$name.ext"
  if [ "$issuer" = "$name" ]; then
    openssl x509 -req -in "$keys/$name.csr" -signkey "$keys/$name.pem" -days "$days" -extfile "$keys/$name.ext" -out "$keys/$name.crt" 2>/dev/null
  else
    openssl x509 -req -in "$keys/$name.csr" -CA "$keys/$issuer.crt" -CAkey "$keys/$issuer.pem" -days "$days" \
      -extfile "$keys/$name.ext" -out "$keys/$name.crt" 2>/dev/null
  fi
}
authority=('basicConstraints=critical,CA:true' 'keyUsage=critical,keyCertSign,cRLSign')
signer=('basicConstraints=critical,CA:false' 'keyUsage=critical,digitalSignature')
certify root root 36500 "${authority[@]}"
certify narrow-root narrow-root 36500 'basicConstraints=critical,CA:true,pathlen:0' 'keyUsage=critical,keyCertSign'
certify other-root other-root 36500 "${authority[@]}"
certify intermediate root 36500 "${authority[@]}"
certify narrow-intermediate narrow-root 36500 "${authority[@]}"
certify no-authority root 36500 "${signer[@]}"
certify signer intermediate 36500 "${signer[@]}" 'subjectAltName=email:models@example.org,URI:https://example.org/models'
certify code-signer root 36500 'basicConstraints=critical,CA:false' 'extendedKeyUsage=codeSigning'
certify server root 36500 'basicConstraints=critical,CA:false' 'extendedKeyUsage=serverAuth'
certify deep narrow-intermediate 36500 "${signer[@]}"
certify below-no-authority no-authority 36500 "${signer[@]}"
certify constrained root 36500 "${signer[@]}" '1.2.3.4=critical,ASN1:NULL'

sign_with() { # name chain…
  local name=$1
  shift
  local chain=()
  for certificate in "$@"; do chain+=(--certificate_chain "$keys/$certificate.crt"); done
  "$model_signing" sign certificate --private_key "$keys/$name.pem" --signing_certificate "$keys/$name.crt" \
    "${chain[@]}" --signature "vectors/$name.sig" vectors/model
}
sign_with signer intermediate
sign_with code-signer root
sign_with server root
sign_with deep narrow-intermediate
sign_with below-no-authority no-authority
sign_with constrained root
cp "$keys/root.crt" vectors/root.crt
cp "$keys/narrow-root.crt" vectors/narrow-root.crt
cp "$keys/other-root.crt" vectors/other-root.crt
