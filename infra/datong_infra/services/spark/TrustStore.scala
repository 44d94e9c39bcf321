package io.github.datong

import java.io.{FileInputStream, FileOutputStream}
import java.security.KeyStore
import java.security.cert.CertificateFactory

/** Makes a Java trust store (PKCS12) of a file of PEM certificates: `TrustStore SOURCE TARGET PASSWORD`. */
object TrustStore {
  def main(arguments: Array[String]): Unit = {
    val Array(source, target, password) = arguments
    val in = new FileInputStream(source)
    val certificates =
      try CertificateFactory.getInstance("X.509").generateCertificates(in)
      finally in.close()
    val store = KeyStore.getInstance("PKCS12")
    store.load(null, password.toCharArray)
    var number = 0
    certificates.forEach { certificate =>
      store.setCertificateEntry(s"ca-$number", certificate)
      number += 1
    }
    val out = new FileOutputStream(target)
    try store.store(out, password.toCharArray)
    finally out.close()
  }
}
