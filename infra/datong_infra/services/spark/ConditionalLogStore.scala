package io.github.datong

import java.io.IOException
import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.FileAlreadyExistsException
import java.util.{Iterator => JavaIterator}

import io.delta.storage.S3SingleDriverLogStore
import org.apache.hadoop.conf.Configuration
import org.apache.hadoop.fs.Path
import software.amazon.awssdk.awscore.exception.AwsServiceException

/**
 * Delta's log on S3 with a conditional put for every commit.
 *
 * The stock store looks whether the commit is there and then writes it: beside another driver or delta-rs, both can find
 * nothing and the second one replaces an acknowledged commit. Here the store itself decides (`If-None-Match: *`).
 */
class ConditionalLogStore(conf: Configuration) extends S3SingleDriverLogStore(conf) {

  override def write(
      path: Path,
      actions: JavaIterator[String],
      overwrite: java.lang.Boolean,
      hadoopConf: Configuration): Unit = {
    if (overwrite) {
      super.write(path, actions, overwrite, hadoopConf)
    } else {
      // the whole text first: an error among the actions must not leave half a commit
      val text = new StringBuilder
      while (actions.hasNext) text.append(actions.next()).append('\n')
      val commit = text.toString.getBytes(UTF_8)
      try {
        val out = path
          .getFileSystem(hadoopConf)
          .createFile(path)
          .recursive()
          .overwrite(true)
          .must("fs.option.create.conditional.overwrite", true)
          .build()
        try out.write(commit)
        catch { case error: Throwable => out.abort(); throw error }
        out.close()
      } catch {
        case error: IOException if refused(error) =>
          throw new FileAlreadyExistsException(path.toString)
      }
    }
  }

  /** Whether the store said that the object is there (412) or is being written by another one (409). */
  private def refused(error: Throwable): Boolean =
    Iterator.iterate(error)(_.getCause).takeWhile(_ != null).take(20).exists {
      case answer: AwsServiceException => answer.statusCode == 412 || answer.statusCode == 409
      case _: org.apache.hadoop.fs.FileAlreadyExistsException | _: FileAlreadyExistsException => true
      case _ => false
    }
}
